import os
import socket
import sys
from unittest.mock import Mock

import pytest

from hslm_tf import demo
from hslm_tf.command_line import Terminated
from hslm_tf.runs.run_directory import newest_run
from tests.tiny_run import fails


def test_without_a_run_it_says_how_to_train_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "`python -m hslm_tf.train`" in fails([], capsys, demo)


def test_newest_run(tmp_path):
    for name in ("first", "second", "unfinished"):
        (tmp_path / name).mkdir()
    for time, name in enumerate(("second", "first")):
        (tmp_path / name / "best.keras").touch()
        os.utime(tmp_path / name / "best.keras", (time, time))
    assert newest_run(tmp_path).path == tmp_path / "first"


@pytest.mark.parametrize("package", ["gradio", "jinja2"])
def test_without_the_extra(package, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    message = fails([tmp_path], capsys, demo)
    assert message == f"error: {package} is not installed: pip install hslm-tf[demo]"


def test_what_is_not_there(whole_run, tmp_path, capsys):
    none = tmp_path / "none"
    assert "no such run or collection" in fails([none], capsys, demo)
    assert "no such folder" in fails([whole_run.path, "--images", none], capsys, demo)


def test_a_port_that_is_taken(whole_run):
    pytest.importorskip("gradio")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as stop:
            demo.main([str(whole_run.path), "--port", str(port)])
    assert stop.value.code == f"error: nothing can listen at 127.0.0.1:{port}: is the port taken?"


def test_nothing_that_was_uploaded_stays(whole_run, tmp_path, monkeypatch):
    pytest.importorskip("gradio")
    from hslm_tf.report import demo_page
    from hslm_tf.runs import opening

    def terminated(self):
        (tmp_path / os.environ["GRADIO_TEMP_DIR"] / "broken off").touch()
        assert len(list(tmp_path.rglob("broken off"))) == 1
        raise Terminated

    page = Mock()
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(opening, "searched_collection", lambda where: None)
    monkeypatch.setattr(demo_page, "DemoSearch", Mock())
    monkeypatch.setattr(demo_page, "demo_page", lambda search: page)
    monkeypatch.setattr(demo.threading.Event, "wait", terminated)
    monkeypatch.setattr(demo_page, "serve", lambda *args: "http://127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(SystemExit) as stop:
        demo.main([str(whole_run.path), "--port", str(port)])
    assert stop.value.code == 143 and page.close.called
    assert list(tmp_path.iterdir()) == []

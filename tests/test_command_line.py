import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hslm_tf import search
from hslm_tf.command_line import one_line_errors, printable
from hslm_tf.data.errors import DataError
from hslm_tf.runs.opening import searched_collection
from tests.tiny_run import write_dataset

NASTY = "\x1b[2J\x1b]0;owned\x07 dog\r\u202egod\x9b31m"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a dog, ein Hündchen, 犬\n👩‍🚀", "a dog, ein Hündchen, 犬\n👩‍🚀"),
        ("\x1b[31mred", "�[31mred"),
        ("a\tb\rc\x00d\x7f\x9b", "a�b�c�d��"),
        ("\u202eevil\u2069", "�evil�"),
        ("\ud800", "�"),
    ],
)
def test_what_is_printed(text, expected):
    assert printable(text) == expected


def test_errors_move_no_cursor():
    with pytest.raises(SystemExit) as stop, one_line_errors():
        raise DataError(f"data, line 3: {NASTY}")
    assert stop.value.code.startswith("error: data, line 3: �[2J�]0;owned� dog")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_every_letter_survives_the_encoding_of_the_terminal(encoding, tmp_path):
    write_dataset(tmp_path / "狗")
    done = subprocess.run(
        [sys.executable, "-m", "hslm_tf.convert", tmp_path / "狗", tmp_path / "犬.h5"],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert b"\\u72ac.h5" in done.stdout


def test_letters_that_the_locale_does_not_know(tmp_path):
    flags = ["--out", str(tmp_path / "été")]
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-m", "hslm_tf.train", *flags],
        capture_output=True,
        env={**os.environ, **locale},
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1
    assert (
        b"\\xe9t\\xe9 has letters that this locale does not know: set PYTHONUTF8=1" in done.stderr
    )


def test_captions_and_ids_move_no_cursor(finished_run, tmp_path, capsys):
    collection = searched_collection(finished_run.path)
    collection.encoded = dataclasses.replace(
        collection.encoded,
        ids=[f"{image_id}{NASTY}" for image_id in collection.ids],
        captions=[f"{caption}{NASTY}" for caption in collection.captions],
    )
    collection.save(tmp_path / "nasty.h5")
    search.main([str(tmp_path / "nasty.h5"), f"A photo of thing3{NASTY}", "-k", "3"])
    printed = capsys.readouterr().out
    assert "thing3�[2J" in printed
    assert not set(printed) & set("\x1b\x07\r\x9b\u202e")


def test_reading_the_help_loads_neither_tensorflow_nor_extras():
    commands = "ablate beam.__main__ check convert demo embed evaluate export extract index search"
    script = f"""
import contextlib, importlib, sys
import hslm_tf
assert not {{"tensorflow", "keras", "numpy"}} & set(sys.modules)
for name in "{commands} train".split():
    command = importlib.import_module(f"hslm_tf.{{name}}")
    with contextlib.suppress(SystemExit):
        command.main(["--help"])
    assert not {{"tensorflow", "keras", "gradio", "jinja2", "apache_beam"}} & set(sys.modules), name
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: ") == 12

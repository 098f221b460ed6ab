import os
import subprocess
import sys

import pytest

from hslm_tf.data.atomic_write import atomic_write, drafted, remove_drafts


def test_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "numbers.npz"
    path.write_text("old")
    with atomic_write(path) as draft:
        draft.write_text("new")
        assert draft.parent == path.parent and draft.suffix == path.suffix
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("letter, count", [("a", 252), ("é", 126), ("\U0001f600", 63)])
def test_names_as_long_as_they_can_be(tmp_path, letter, count):
    path = tmp_path / f"{letter * count}.h5"
    with atomic_write(path) as draft:
        draft.write_text("new")
        assert draft.suffix == ".h5"
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("folder", [False, True])
def test_an_error_leaves_what_was_there(folder, error, tmp_path):
    path = tmp_path / "numbers.txt"
    path.write_text("old")
    with pytest.raises(error), atomic_write(path) as draft:
        if folder:
            draft.mkdir()
            (draft / "part").write_text("new")
        else:
            draft.write_text("new")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_folder(tmp_path):
    with atomic_write(tmp_path / "7") as draft:
        draft.mkdir()
        (draft / "part").write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["7"]
    # A version of an export is never replaced.
    with (
        pytest.raises(FileExistsError, match="^[^ ]*7 exists already, another process wrote it$"),
        atomic_write(tmp_path / "7") as draft,
    ):
        draft.mkdir()
        (draft / "part").write_text("other")
    assert (tmp_path / "7" / "part").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["7"]


def test_usual_permissions(tmp_path):
    before = os.umask(0o022)
    try:
        with atomic_write(tmp_path / "file") as draft:
            draft.write_text("text")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_a_link_is_not_written_through(tmp_path):
    """Links under all names that could be guessed, and one in the place of the file itself."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    path = tmp_path / "config.json"
    guesses = (f"draft-{os.getpid()}-{path.name}", f"{path.name}.draft", f"draft-{path.name}")
    for name in (*guesses, path.name):
        (tmp_path / name).symlink_to(victim)
    with atomic_write(path) as draft:
        draft.write_text("new")
    assert victim.read_text() == "mine"
    assert path.read_text() == "new" and not path.is_symlink()


def test_a_pipe_in_the_place_of_the_file_stays(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileExistsError, match="pipe is a pipe, a socket or a device, expected"):
        with atomic_write(tmp_path / "pipe"):
            pass
    assert (tmp_path / "pipe").is_fifo() and len(list(tmp_path.iterdir())) == 1


def test_drafts_have_names_of_their_own(tmp_path):
    with atomic_write(tmp_path / "a") as one, atomic_write(tmp_path / "a") as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "a").read_text() == "one"


@pytest.mark.parametrize("folder", [False, True])
def test_drafts_of_killed_writers_go_with_the_next(folder, tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with drafted(tmp_path / "a.h5") as draft:
        here = draft.name.split("-")[1]
    left = tmp_path / f".draft-{here}-{ended.pid}-0123456789abcdef-a.h5"
    left.mkdir() if folder else left.write_text("half")
    others = {
        f".draft-{here}-{os.getppid()}-0123456789abcdef-a.h5": "at work",
        f".draft-0-{ended.pid}-0123456789abcdef-a.h5": "of another machine",
        f".draft-{here}-{ended.pid}-0123456789abcdef-b.h5": "of another target",
        f".draft-{ended.pid}-a.h5": "the user's",
    }
    for name, text in others.items():
        (tmp_path / name).write_text(text)
    with atomic_write(tmp_path / "a.h5") as one, atomic_write(tmp_path / "a.h5") as other:
        one.write_text("one")
        with atomic_write(tmp_path / "a.h5") as third:
            third.write_text("third")
        assert one.exists() and not left.exists()
        other.write_text("other")
    assert {path.name for path in tmp_path.iterdir()} == {"a.h5", *others}
    remove_drafts(tmp_path)
    others.pop(f".draft-{here}-{ended.pid}-0123456789abcdef-b.h5")
    assert {path.name for path in tmp_path.iterdir()} == {"a.h5", *others}

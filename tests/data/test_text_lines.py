import pytest

from hslm_tf.data import DataError
from hslm_tf.data.text_lines import read_lines


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n \n\t\n", "\r\n", "\r\n\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_ends_of_files(tmp_path, end, mark):
    path = tmp_path / "a.txt"
    path.write_bytes(f"{mark}one\r\n two{end}".encode())
    assert read_lines(path) == ["one", "two"]


@pytest.mark.parametrize("end", [b"", b"\r", b"\n", b"\r\n"])
def test_lines_of_old_macs(end, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\rtwo" + end)
    assert read_lines(tmp_path / "a.txt") == ["one", "two"]


@pytest.mark.parametrize("content", ["", "\n", "\ufeff", " \r\n\n"])
def test_files_of_nothing(tmp_path, content):
    (tmp_path / "a.txt").write_bytes(content.encode())
    assert read_lines(tmp_path / "a.txt") == []


@pytest.mark.parametrize("gap", ["\n", " \n", "\r\n", "\n\n\n"])
def test_an_empty_line_in_the_middle(tmp_path, gap):
    (tmp_path / "a.txt").write_bytes(f"one\n{gap}two\n\n".encode())
    with pytest.raises(DataError, match="a.txt, line 2: the line is empty and others follow it"):
        read_lines(tmp_path / "a.txt")


def test_another_encoding(tmp_path):
    (tmp_path / "a.txt").write_bytes("one\n".encode("utf-16"))
    with pytest.raises(DataError, match="line 1: byte 0xff at column 1 is not valid UTF-8"):
        read_lines(tmp_path / "a.txt")

"""Result files are whole or not there."""

import os
from pathlib import Path

import pytest

from ef_slurm.formats.errors import FormatError
from ef_slurm.formats.files import write_whole


def test_a_file_is_replaced_and_readable_as_the_umask_says(tmp_path: Path) -> None:
    file = tmp_path / "report"
    file.write_text("old and longer")
    before = os.umask(0o027)
    try:
        write_whole(file, "näw")
    finally:
        os.umask(before)
    assert file.read_bytes() == "näw".encode()
    assert file.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [file]


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "x").touch()
    with pytest.raises(FormatError, match="report: cannot be written"):
        write_whole(tmp_path / "report", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    with pytest.raises(FormatError, match="cannot be written"):
        write_whole(tmp_path / "nowhere" / "report", b"new")


def test_what_is_no_plain_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_whole(pipe, b"new")
        assert pipe.is_fifo()
        assert os.read(reader, 100) == b"new"
    finally:
        os.close(reader)
    assert list(tmp_path.iterdir()) == [pipe]

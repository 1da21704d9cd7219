"""A rank that was stopped as ordered ends quickly, and nothing of its script's is lost."""

import gzip
import zipfile
from pathlib import Path

import pytest

from tests.unit.forkserver.launching import Launching, fake_torch

STOP = """
class Stopped(SystemExit):
    ef_stopped = {code}

raise Stopped({code})
"""


def ended(tmp_path: Path, before: str, code: int = 75) -> tuple[int, str]:
    launching = Launching(tmp_path, ranks=1, variables=fake_torch(tmp_path))
    script = launching.script(before)
    script.write_text(script.read_text() + STOP.format(code=code))
    found, _, errors = launching.run(script)
    return found, errors


def test_the_interpreter_is_not_taken_apart(tmp_path: Path) -> None:
    """What a package keeps for the end of the interpreter, and `sys` with it, is never reached."""
    (tmp_path / "package.py").write_text(
        "class Late:\n    def __del__(self): print('package', flush=True)\nlate = Late()\n"
    )
    launching = Launching(tmp_path, ranks=1, variables=fake_torch(tmp_path))
    script = launching.script("import package\n")
    assert launching.run(script)[1] == "package\n"
    script.write_text(script.read_text() + STOP.format(code=0))
    assert launching.run(script)[:2] == (0, "")


@pytest.mark.parametrize("code", [0, 75])
def test_threads_exit_functions_and_objects_get_their_end(tmp_path: Path, code: int) -> None:
    found, errors = ended(
        tmp_path,
        """
        import atexit, sys, threading, time

        class Thing:
            def __del__(self):
                print("object", sys.argv[0][-8:], file=sys.stderr)

        def work():
            time.sleep(0.2)
            print("thread", file=sys.stderr)

        thing = Thing()
        circle = Thing()
        circle.self = circle
        atexit.register(print, "atexit", file=sys.stderr)
        threading.Thread(target=work).start()
        """,
        code,
    )
    assert found == code
    lines = [line for line in errors.splitlines() if not line.startswith("ef-slurm")]
    assert lines == ["thread", "atexit", "object train.py", "object train.py"]


def test_files_are_written_to_their_end(tmp_path: Path) -> None:
    found, errors = ended(
        tmp_path,
        """
        import gzip, io, zipfile

        text = open("text", "w")
        text.write("text")
        binary = open("binary", "wb")
        binary.write(b"binary")
        packed = gzip.open("packed.gz", "wt")
        packed.write("packed")
        archive = zipfile.ZipFile("archive.zip", "w")
        archive.writestr("name", "content")

        def keep():
            within = open("within", "w")
            within.write("within")
            globals().setdefault("kept", []).append(within)

        keep()
        import types
        other = types.ModuleType("other")
        other.file = open("other", "w")
        other.file.write("other")
        """,
    )
    assert found == 75, errors
    for name in ("text", "binary", "within", "other"):
        assert (tmp_path / name).read_text() == name
    assert gzip.decompress((tmp_path / "packed.gz").read_bytes()) == b"packed"
    assert zipfile.ZipFile(tmp_path / "archive.zip").read("name") == b"content"


def test_what_a_function_held_when_it_was_stopped_gets_its_end(tmp_path: Path) -> None:
    found, _ = ended(
        tmp_path,
        """
        import zipfile

        class Stopped(SystemExit):
            ef_stopped = 75

        def main():
            archive = zipfile.ZipFile("archive.zip", "w")
            archive.writestr("name", "content")
            raise Stopped(75)

        main()
        """,
    )
    assert found == 75
    assert zipfile.ZipFile(tmp_path / "archive.zip").read("name") == b"content"


@pytest.mark.parametrize("statement", ["raise SystemExit(4)", "import os; os._exit(4)"])
def test_another_code_of_the_scripts_own_counts(tmp_path: Path, statement: str) -> None:
    found, _ = ended(tmp_path, f"import atexit\n{statement}\n")
    assert found == 4


def test_errors_at_the_end_change_nothing(tmp_path: Path) -> None:
    found, errors = ended(
        tmp_path,
        """
        import atexit, sys

        class Bad:
            def __del__(self):
                raise ValueError("object")

        bad = Bad()
        atexit.register(lambda: 1 / 0)
        """,
    )
    assert found == 75
    assert "ZeroDivisionError" in errors
    assert "ValueError: object" in errors

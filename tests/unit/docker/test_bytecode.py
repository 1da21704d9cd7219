"""Hosts find the checkout compiled, and what has changed since is compiled again."""

import os
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest
from mini import bytecode

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for room in bytecode.ROOMS:
        (tmp_path / room).mkdir()
        (tmp_path / room / "one.py").write_text("ONE = 1\n")
    return tmp_path


def ensure(checkout: Path) -> list[str]:
    """With what this Python was called, if it was."""
    asked: list[str] = []

    def run_python(arguments: list[str]) -> None:
        asked.extend(arguments)
        subprocess.run([sys.executable, *arguments], cwd=checkout, check=True)

    bytecode.ensure(checkout, PYTHON, run_python)
    return asked


def test_it_is_made_once(checkout: Path) -> None:
    assert ensure(checkout)[-2:] == [f"{room}/one.py" for room in bytecode.ROOMS]
    assert ensure(checkout) == []


def test_it_is_made_again_for_a_source_that_is_another(checkout: Path) -> None:
    ensure(checkout)
    source = checkout / "docker" / "one.py"
    source.write_text("TWO = 22\n")
    assert ensure(checkout)[-1:] == ["docker/one.py"]
    assert ensure(checkout) == []
    os.utime(source, (1, 1))
    assert ensure(checkout)[-1:] == ["docker/one.py"]


def test_another_release_has_its_own(checkout: Path) -> None:
    ensure(checkout)
    source = checkout / "ef_slurm" / "one.py"
    assert not bytecode.is_stale(source, sys.implementation.cache_tag or "")
    assert bytecode.is_stale(source, "cpython-30")


def test_what_python_takes_for_current_is_current(checkout: Path) -> None:
    source = checkout / "ef_slurm" / "one.py"
    os.utime(source, (1_700_000_000.9, 1_700_000_000.9))
    py_compile.compile(str(source))
    assert not bytecode.is_stale(source, sys.implementation.cache_tag or "")

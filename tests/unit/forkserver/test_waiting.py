"""A server that waits beside a running launch, for the word or for the end."""

import subprocess
import sys
from pathlib import Path

import pytest

from ef_slurm.resources import templates_dir

PROGRAM = """
import socket, sys
from forkserver.waiting import Waiting

ours, theirs = socket.socketpair()
waiting = Waiting(sys.argv[1], speaks=True)
if sys.argv[2] == "one of them leaves":
    theirs.close()
sys.exit(0 if waiting.await_word([ours]) else 3)
"""


def waited(ready: Path, what: str, word: bytes) -> int:
    """Its exit code: 0 if its ranks may begin."""
    environment = {"PYTHONPATH": str(templates_dir())}
    words = [sys.executable, "-c", PROGRAM, str(ready), what]
    return subprocess.run(words, input=word, env=environment, timeout=60, check=False).returncode


def test_the_word_lets_it_begin(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    assert waited(ready, "", b"launch 2\n") == 0
    assert not ready.exists()


def test_without_a_word_it_ends(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    assert waited(ready, "", b"") == 3
    assert ready.read_text() == ""


@pytest.mark.parametrize("word", [b"", b"launch 2\n"])
def test_when_another_node_leaves_nothing_begins(tmp_path: Path, word: bytes) -> None:
    """Whether or not the word has come meanwhile."""
    ready = tmp_path / "ready"
    assert waited(ready, "one of them leaves", word) == 3
    assert ready.read_text() == "failed\n"

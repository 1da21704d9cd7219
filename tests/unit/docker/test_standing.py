"""Commands that a standing process on a host runs come out as `docker exec` would have them."""

import os
import pwd
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mini import answering
from mini.standing import HOST_DIED, Request, Standing

ME = pwd.getpwuid(os.getuid()).pw_name
root_only = pytest.mark.skipif(os.getuid() != 0, reason="becomes other users: needs root")


class Host:
    """This machine, on which processes that answer are started and counted."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[str]] = []

    def start(self, _host: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", answering.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def standing(host: Host) -> Iterator[Standing]:
    standing = Standing(host.start)
    yield standing
    standing.close()
    assert all(process.poll() is not None for process in host.started)


def shell(script: str, *, stdin: str = "", timeout: float = 60) -> Request:
    return Request(["sh", "-c", script], ME, "/", stdin, timeout)


@root_only
def test_output_exit_code_and_input_are_the_commands(host: Host, standing: Standing) -> None:
    script = 'cat; pwd; echo "$USER"; echo wrong >&2; exit 3'
    for _ in range(2):
        done = standing.run("n1", shell(script, stdin="in\n"))
        assert done.returncode == 3
        assert done.stdout == f"in\n/\n{ME}\n"
        assert done.stderr == "wrong\n"
    assert len(host.started) == 1


@root_only
def test_a_command_is_the_users(standing: Standing) -> None:
    done = standing.run("n1", Request(["id", "-un"], "nobody", "/"))
    assert done.stdout == "nobody\n"
    refused = standing.run("n1", Request(["true"], "nobody", "/root"))
    assert refused.returncode == answering.CANNOT_BEGIN


@root_only
def test_signals_and_what_cannot_begin_are_exit_codes(standing: Standing) -> None:
    assert standing.run("n1", shell("kill -9 $$")).returncode == HOST_DIED
    done = standing.run("n1", Request(["no-such-program"], ME, "/"))
    assert done.returncode == answering.CANNOT_BEGIN
    assert "no-such-program" in done.stderr


@root_only
def test_a_command_that_takes_too_long_is_ended(standing: Standing, tmp_path: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        standing.run("n1", shell(f"sleep 1; touch {tmp_path}/late", timeout=0.2))
    time.sleep(1.2)
    assert not (tmp_path / "late").exists()
    assert standing.run("n1", shell("echo on")).stdout == "on\n"


@root_only
def test_who_died_is_started_again(host: Host, standing: Standing) -> None:
    standing.run("n1", shell("true"))
    host.started[0].kill()
    host.started[0].wait()
    assert standing.run("n1", shell("echo on")).stdout == "on\n"
    died = standing.run("n1", shell("kill -9 $PPID"))
    assert died.returncode == HOST_DIED
    assert standing.run("n1", shell("echo on")).stdout == "on\n"
    assert len(host.started) == 3


@root_only
def test_an_imported_command_does_as_one_that_is_started(standing: Standing) -> None:
    words = ["ef-squeue", "--format=%y"]
    done = standing.run("n1", Request(words, ME, "/", imported=True))
    assert done.returncode == 2
    assert "%y is not known" in done.stderr
    assert not done.stdout

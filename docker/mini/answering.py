"""Runs on a host of a mini-Slurm, as root: does there what users do, as `docker exec` would.

Each line of standard input is a request in JSON, each line of output its answer. A `docker exec`
for each command takes several processes and a tenth of a second of a core; this one is there
already.

A request with `imported` is for a command of ef-slurm's. It is forked from this process, which has
imported it, instead of started: its imports are most of what it takes, and tests that wait for
something ask again and again.
"""

import functools
import importlib.metadata
import json
import os
import pwd
import select
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO

CANNOT_BEGIN = 126


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    # What is imported may print; nothing but answers goes there.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        answers.write(f"{json.dumps(answer(json.loads(line)))}\n")
        answers.flush()


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Exit code and output of a command, or no code where it took longer than it may."""
    words = request["words"]
    entry = entry_of(words[0]) if request["imported"] else None
    with (
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        given.write(request["stdin"].encode())
        given.seek(0)
        child = os.fork()
        if not child:
            become(words, entry, request["user"], request["directory"], (given, out, err))
        code = wait(child, request["timeout"])
        return {"code": code, "stdout": text(out), "stderr": text(err)}


@functools.cache
def entry_of(name: str) -> Callable[[], object]:
    """What a command of ef-slurm's calls."""
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name=name)
    found: Callable[[], object] = entry.load()
    return found


def become(
    words: list[str],
    entry: Callable[[], object] | None,
    user: str,
    directory: str,
    streams: tuple[BinaryIO, BinaryIO, BinaryIO],
) -> None:
    """Go on as the command; never returns."""
    code = CANNOT_BEGIN
    try:
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream.fileno(), number)
        account = pwd.getpwnam(user)
        os.initgroups(user, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
        os.environ |= {"HOME": account.pw_dir, "USER": user, "LOGNAME": user}
        os.chdir(directory)
        if entry is None:
            # Python has added it for itself.
            os.environ.pop("LC_CTYPE", None)
            for number in (signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            os.execvp(words[0], words)  # noqa: S606
        sys.argv = words
        # The one of this process has read ahead.
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        try:
            code = exit_code(entry())
        except SystemExit as end:
            code = exit_code(end.code)
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError as error:
        print(f"{words[0]}: {error}", file=sys.stderr, flush=True)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def exit_code(value: object) -> int:
    """As sys.exit takes it."""
    if isinstance(value, int):
        return value
    if value is not None:
        print(value, file=sys.stderr)
    return int(value is not None)


def wait(child: int, seconds: float) -> int | None:
    """A child's exit code, as a shell has it; None if it had to be killed."""
    watch = os.pidfd_open(child)
    ended, _, _ = select.select([watch], [], [], seconds)
    os.close(watch)
    if not ended:
        os.killpg(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not ended:
        return None
    return 128 - code if code < 0 else code


def text(stream: BinaryIO) -> str:
    stream.seek(0)
    return stream.read().decode(errors="replace")


if __name__ == "__main__":
    main()

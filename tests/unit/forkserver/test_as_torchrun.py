"""A rank finds what torchrun and the interpreter would have given it."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.forkserver.launching import Launching, environment, fake_torch, values

WORLD = """
    '''The documentation of a script.'''
    from __future__ import annotations

    import torch
    import json, multiprocessing, os, pickle, random, resource, signal, sys, threading
    import numpy

    class Thing:
        pass

    names = dict(globals())
    threads = sorted(thread.name for thread in threading.enumerate())
    blocked = sorted(int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, []))
    handlers = {int(s): str(signal.getsignal(s)) for s in signal.valid_signals()}
    handlers = {s: h.split(" at ")[0] for s, h in handlers.items()}
    status = open("/proc/self/status").read()
    here = sys.modules["__main__"]
    print(json.dumps({
        "rank": int(os.environ["RANK"]),
        "environment": dict(os.environ),
        "argv": sys.argv, "orig_argv": sys.orig_argv, "path": sys.path, "flags": str(sys.flags),
        "cwd": os.getcwd(), "executable": sys.executable, "umask": os.umask(0),
        "names": sorted(names), "name": __name__, "doc": __doc__, "file": __file__,
        "spec": __spec__, "package": __package__, "cached": __cached__,
        "loader": type(__loader__).__name__, "builtins": str(type(__builtins__)),
        "main": here.__dict__ is globals(), "module": Thing.__module__,
        "pickled": pickle.loads(pickle.dumps(Thing())).__class__ is Thing,
        "threads": threads, "tasks": len(os.listdir("/proc/self/task")) <= 2,
        "main_thread": threading.current_thread() is threading.main_thread(),
        "native": threading.main_thread().native_id == os.getpid(),
        "blocked": blocked, "handlers": handlers,
        "signals": [line for line in status.splitlines() if line.startswith(("SigBlk", "SigIgn"))],
        "leader": os.getsid(0) == os.getpid(), "limits": resource.getrlimit(resource.RLIMIT_NOFILE),
        "descriptors": sorted(int(n) for n in os.listdir("/proc/self/fd"))[:3],
        "streams": [sys.stdout.line_buffering, sys.stdout.write_through, sys.stderr.encoding],
        "torch_threads": torch.get_num_threads(),
        "process": multiprocessing.current_process().name,
        "parent": str(multiprocessing.parent_process()),
        "command": open("/proc/self/cmdline").read().rstrip(chr(0)).split(chr(0)),
        "excepthook": sys.excepthook.__name__,
    }))
    print(json.dumps({"rank": int(os.environ["RANK"]), "random": [
        random.random(), numpy.random.random(), multiprocessing.current_process().authkey.hex(),
        *([] if torch.initial_seed() == 67280421310721 else [torch.initial_seed()]),
    ]}), file=sys.stderr)
"""


def test_everything_is_as_torchrun_has_it(tmp_path: Path) -> None:
    options = ("--role=trainer",)
    found: dict[str, Any] = {}
    port = Launching(tmp_path).port
    for launcher in ("torchrun", "forkserver"):
        launching = Launching(tmp_path, launcher=launcher, options=options, port=port)
        found[launcher] = launching.says(WORLD, "--lr", "it's é", "")
    for rank, expected in found["torchrun"].items():
        got = found["forkserver"][rank]
        for one in (expected, got):
            assert one["environment"].pop("TORCHELASTIC_ERROR_FILE").endswith(".json")
            # What an agent of torchrun leaves to its ranks of its own doings.
            one["environment"].pop("TORCHELASTIC_SIGNALS_TO_HANDLE", None)
            one["environment"].pop("EF_LAUNCH_SECRET", None)
        assert got == expected


def test_random_states_differ_between_ranks(tmp_path: Path) -> None:
    code, _, errors = Launching(tmp_path).run(Launching(tmp_path).script(WORLD))
    assert code == 0
    first, second = (value["random"] for value in values(errors))
    assert not set(first) & set(second)


def test_no_rank_knows_the_secret(tmp_path: Path) -> None:
    text = """
        import json, os
        began = open("/proc/self/environ").read() + open(f"/proc/{os.getppid()}/environ").read()
        seen = [*os.environ, *(entry.partition("=")[0] for entry in began.split(chr(0)))]
        print(json.dumps({"rank": int(os.environ["RANK"]), "seen": seen}))
    """
    seen = Launching(tmp_path, ranks=1, variables=fake_torch(tmp_path)).says(text, rank=0)["seen"]
    assert "EF_LAUNCH_SECRET" not in seen
    assert "PYTHONPATH" in seen
    assert "EF_LAUNCH_SECRET" in environment()


ENDS = {
    "exit(3)": ("raise SystemExit(3)", 3, ""),
    "a text": ("raise SystemExit('why')", 1, "why\n"),
    "an error": ("1 / 0", 1, "ZeroDivisionError: division by zero"),
    "interrupted": ("raise KeyboardInterrupt", 130, "KeyboardInterrupt"),
    "killed": ("os.kill(os.getpid(), 9)", 137, ""),
    "os._exit": ("os._exit(7)", 7, ""),
    "late": ("import atexit; atexit.register(print, 'the end', file=sys.stderr)", 0, "the end"),
    "thread": (
        "import threading\nthreading.Timer(0.3, print, ['thread'], {'file': sys.stderr}).start()",
        0,
        "thread",
    ),
    "a hook": ("sys.excepthook = lambda *e: print('mine', e[0], file=sys.stderr)\n1/0", 1, "mine"),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_script_ends_as_ever(tmp_path: Path, end: str) -> None:
    statement, expected, said = ENDS[end]
    launching = Launching(tmp_path, ranks=1, variables=fake_torch(tmp_path))
    code, _, errors = launching.run(launching.script(f"import os, sys\n{statement}\n"))
    assert code == expected
    assert said in errors
    if expected:
        how = "signal 9" if expected == 137 else "signal 2" if expected == 130 else None
        assert f"rank 0 failed first, {how or f'exit code {expected}'}" in errors
    # Nothing of the server's stands in a traceback.
    assert "forkserver" not in errors


def test_a_script_that_is_none(tmp_path: Path) -> None:
    launching = Launching(tmp_path, ranks=1)
    code, _, errors = launching.run(launching.script("a = = b\n"))
    assert code == 1
    assert "SyntaxError: invalid syntax" in errors
    assert "torchrun starts the ranks: " in errors

"""torchrun as the batch script runs it: its own code, plus four things that it lacks.

The exit code is that of the worker that failed first, without a traceback of torchrun's own. When
the agent is killed, its workers die with it: Slurm waits for them before it ends the step, and a
worker that nobody watches any more would keep GPU and port meanwhile. An agent whose workers have
all left goes at once, unless it holds the store: its node may be given back while the others train.
And it works with Debian's builds of torch: 2.6 has no libuv, which no option of torchrun says; 1.13
with Python 3.11 does not find its own default for "no redirection".
"""

import atexit
import ctypes
import functools
import gc
import os
import signal
import subprocess
import sys
from typing import Any, NoReturn

from torch import distributed
from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException, Std, SubprocessHandler
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

dist: Any = distributed
torchrun: Any = run


def has_libuv() -> bool:
    try:
        dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    except RuntimeError:
        return False
    return True


def do_without_libuv() -> None:
    """The agents' store is made without it, at the next port.

    The workers get one of their own at the port they know, since only for that one USE_LIBUV is
    heeded.
    """
    from torch.distributed.elastic.rendezvous import static_tcp_rendezvous

    static: Any = static_tcp_rendezvous
    new_store = functools.partial(dist.TCPStore, use_libuv=False)
    static.TCPStore = lambda host, port, *args, **kwargs: new_store(host, port + 1, *args, **kwargs)
    static.StaticTCPRendezvous.use_agent_store = False
    os.environ["USE_LIBUV"] = "0"


def find_no_redirection() -> None:
    redirection: Any = Std
    from_str = redirection.from_str
    redirection.from_str = lambda text: from_str(text) or Std.NONE


def let_workers_die_with_the_agent() -> None:
    libc, agent = ctypes.CDLL(None), os.getpid()
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG, see prctl(2)

    def in_worker() -> None:
        libc.prctl(set_parent_death_signal, signal.SIGKILL)
        if os.getppid() != agent:  # it died before this was set
            os._exit(128 + signal.SIGKILL)

    def popen(self: Any, args: tuple[str, ...], env: dict[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - words, no shell
            args,
            env=env,
            stdout=self._stdout,
            stderr=self._stderr,
            start_new_session=True,
            preexec_fn=in_worker,
        )

    handler: Any = SubprocessHandler
    handler._popen = popen


def leave_without_waiting() -> None:
    """Other agents than the first one say that they go, and do not wait 300 s for the rest."""
    from torch.distributed.elastic.utils import store

    kind: Any = store
    arrive = getattr(kind, "_barrier_nonblocking", None)  # older torch has none, and waits
    if arrive is not None and "--node_rank=0" not in sys.argv:
        kind.barrier = lambda store, world_size, key_prefix, *_, **__: arrive(
            store, world_size, key_prefix
        )


def outlive_signals() -> None:
    """`--signal` sends one to all processes of the step: it is for the workers, not for the agent.

    They have none of these handlers: a program starts with the defaults.
    """
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda *_: None)


def main() -> NoReturn:
    # Most of the time that Python needs to end is a last search for garbage among torch's objects.
    atexit.register(gc.freeze)
    if not has_libuv():
        do_without_libuv()
    if Std.from_str("0") is None:
        find_no_redirection()
    let_workers_die_with_the_agent()
    leave_without_waiting()
    outlive_signals()
    try:
        torchrun.run(torchrun.parse_args(sys.argv[1:]))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        code = failure.exitcode
        how = f"exit code {code}" if code > 0 else f"signal {-code}"
        print(f"ef-slurm: rank {rank} failed first, {how}", file=sys.stderr)
        sys.exit(code if code > 0 else 128 - code)
    except SignalException as error:
        sys.exit(128 + error.sigval)
    sys.exit(0)


if __name__ == "__main__":
    main()

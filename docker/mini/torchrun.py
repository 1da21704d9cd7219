#!/usr/bin/python3
"""torchrun for Debian's builds of torch, installed as `torchrun` on every host of a mini-Slurm.

Debian's torch 2 has no libuv, but torchrun asks for it and cannot be told otherwise; Debian's
torch 1.13 is not made for its Python. Works with `--master_addr` (static rendezvous).
"""

import functools
import os
import sys
from typing import Any

from torch import distributed
from torch.distributed import run
from torch.distributed.elastic import multiprocessing
from torch.distributed.elastic.rendezvous import static_tcp_rendezvous

dist: Any = distributed
static: Any = static_tcp_rendezvous
output: Any = multiprocessing.Std


def do_without_libuv() -> None:
    """The agents' store moves to the next port.

    The workers make one of their own at the port they know, because only for that one USE_LIBUV is
    heeded.
    """
    os.environ["USE_LIBUV"] = "0"
    new_store = functools.partial(dist.TCPStore, use_libuv=False)
    static.TCPStore = lambda host, port, *args, **kwargs: new_store(host, port + 1, *args, **kwargs)
    static.StaticTCPRendezvous.use_agent_store = False


def find_standard_output() -> None:
    """Since Python 3.11 a search of torch 1.13 through its flags does not find the empty one."""
    parse = output.from_str
    output.from_str = lambda text: output.NONE if parse(text) is None else parse(text)


# Releases before 2.1 know nothing of libuv.
if "use_libuv" in (dist.TCPStore.__init__.__doc__ or ""):
    do_without_libuv()
find_standard_output()
sys.exit(run.main())

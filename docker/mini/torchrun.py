#!/usr/bin/python3
"""torchrun for Debian's builds of torch, installed as `torchrun` on every host of a mini-Slurm.

Debian's torch has no libuv, but torchrun asks for it and cannot be told otherwise. Works with
`--master_addr` (static rendezvous).
"""

import functools
import os
import sys
from typing import Any

from torch import distributed
from torch.distributed import run
from torch.distributed.elastic.rendezvous import static_tcp_rendezvous

dist: Any = distributed
static: Any = static_tcp_rendezvous


def do_without_libuv() -> None:
    """The agents' store moves to the next port.

    The workers make one of their own at the port they know, because only for that one USE_LIBUV is
    heeded.
    """
    os.environ["USE_LIBUV"] = "0"
    new_store = functools.partial(dist.TCPStore, use_libuv=False)
    static.TCPStore = lambda host, port, *args, **kwargs: new_store(host, port + 1, *args, **kwargs)
    static.StaticTCPRendezvous.use_agent_store = False


# Releases before 2.1 know nothing of libuv.
if "use_libuv" in (dist.TCPStore.__init__.__doc__ or ""):
    do_without_libuv()
sys.exit(run.main())

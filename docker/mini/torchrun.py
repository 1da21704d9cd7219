#!/usr/bin/python3
"""torchrun for Debian's torch, which is built without libuv.

torchrun asks for libuv and cannot be told otherwise; here it is. Installed as `torchrun` on
every host of a mini-Slurm.
"""

import sys
from typing import Any

from torch import distributed

module: Any = distributed


class PlainStore(module.TCPStore):  # type: ignore[misc]
    """A TCPStore that never asks for libuv."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options | {"use_libuv": False})


# Releases before 2.1 know nothing of libuv.
if "use_libuv" in (module.TCPStore.__init__.__doc__ or ""):
    # Before torchrun's modules take it from here.
    module.TCPStore = PlainStore

from torch.distributed.run import main  # noqa: E402

sys.exit(main())

"""The checkout's byte code, made once for all hosts of a cluster.

Hosts read the checkout and cannot write it: without, every command, daemon and batch script
compiles what it imports. It lies where Python looks for it, in `__pycache__`, which git ignores; a
source that is changed later is compiled anew by whoever imports it. Where the checkout cannot be
written there is none.
"""

from collections.abc import Callable
from pathlib import Path

ROOMS = ("ef_slurm", "docker")
TIME_AND_SIZE = slice(8, 16)
"""Of a byte code file: when the source was changed and how long it is, 32 bits each."""


def ensure(checkout: Path, python: str, run_python: Callable[[list[str]], object]) -> None:
    """Have it made for the sources that have none, or had it before they were changed.

    Args:
        checkout: as this machine sees it.
        python: the hosts' release, such as "3.13".
        run_python: runs the hosts' Python with these arguments, in the checkout.
    """
    tag = f"cpython-{python.replace('.', '')}"
    sources = [source for room in ROOMS for source in (checkout / room).rglob("*.py")]
    stale = [str(one.relative_to(checkout)) for one in sources if is_stale(one, tag)]
    if stale:
        run_python(["-m", "compileall", "-qq", "-f", *stale])


def is_stale(source: Path, tag: str) -> bool:
    """Whether Python would compile this source."""
    made = source.parent / "__pycache__" / f"{source.stem}.{tag}.pyc"
    try:
        with made.open("rb") as file:
            head = file.read(TIME_AND_SIZE.stop)
    except OSError:
        return True
    state = source.stat()
    mark = (int(state.st_mtime), state.st_size)
    return head[TIME_AND_SIZE] != b"".join(
        (number & 0xFFFFFFFF).to_bytes(4, "little") for number in mark
    )

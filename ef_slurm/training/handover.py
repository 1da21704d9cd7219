"""A change of size for a training whose ranks cannot stay: the launch hands over to a larger one.

The batch scripts of the job and of its companions start the servers of that launch beside the one
that trains (`templates/next.sh.j2`). When all of them can fork their ranks the training saves and
stops, and the next ranks go on from there: it stands still for a stop and a restore, and not for
the start of a process or an import. Where something is missing nothing has happened.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ef_slurm.contract import ENV_NODES, JobEnvironment, Order, StateDir
from ef_slurm.training.batches import BatchError, Share
from ef_slurm.training.progress import Reporter
from ef_slurm.training.roster import RefusedError
from ef_slurm.training.watch import Kind, Request

LOOK_SECONDS = 1.0
"""Seconds between two looks at who waits: they are on a file system that many share."""
FAILED = "failed"
"""What stands in the file of a launch that cannot be prepared; one that is ready has an empty one.
"""


def ready_file(next_file: Path, change: int) -> Path:
    """What the servers of the launch after a change make when they are ready.

    Args:
        next_file: as the batch script names the one for a relaunch.
    """
    return next_file.with_name(f"{next_file.name}.{change}")


class Handover:
    """Which launch is to take over; rank 0 asks it. See `ef_slurm.training.watch.Changes`.

    Args:
        state: where companions say that they are there.
        generation: the launch.
        next_file: see `ready_file`.
        nodes: those that train, in rank order.
        per_node: ranks of each.
        batch: samples per iteration over all ranks.
        made: number of the last change.
        say: prints a line into the job's log.
        busy: whether a checkpoint is being written.

    Attributes:
        nodes, made: as given.
    """

    def __init__(
        self,
        state: StateDir,
        generation: int,
        next_file: Path,
        nodes: Sequence[str],
        per_node: int,
        batch: int,
        made: int,
        reporter: Reporter,
        say: Callable[[str], None],
        busy: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ):
        self._waiting = f".waits.{generation}.*"
        self._directory = state.path
        self._next_file = next_file
        self.nodes = list(nodes)
        self.made = made
        self._per_node = per_node
        self._batch = batch
        self._last = made
        self._reporter = reporter
        self._say = say
        self._busy = busy
        self._clock = clock
        self._looked_at = -LOOK_SECONDS
        self._ready: list[str] = []
        self._told_imports = made

    def look(self, iteration: int, at: float) -> None:  # noqa: ARG002
        """See which companions are there; report it."""
        now = self._clock()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        found: list[str] = []
        for file in sorted(self._directory.glob(self._waiting)):
            try:
                found += [name for name in file.read_text().strip().split(",") if name]
            except (OSError, UnicodeDecodeError):  # about to come, or just gone
                continue
        ready = [name for name in dict.fromkeys(found) if name not in self.nodes]
        if ready != self._ready:
            self._ready = ready
            self._reporter.note(ready=",".join(ready))

    def due(self, order: Order | None) -> Request | None:
        """The stop for the launch that takes over, when that is ready."""
        if order is None or order.change != self._last + 1:
            return None
        try:
            self._check(order)
            if self._told_imports < order.change:
                self._told_imports = order.change
                with suppress(Exception):  # what modules there are is nobody's to foresee
                    tell_imports(self._directory)
            said = ready_file(self._next_file, order.change).read_text()
            if said.strip() == FAILED:
                raise RefusedError("the launch that was to take over cannot be prepared")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            self._refuse(order.change, f"what was prepared cannot be seen: {error}")
            return None
        except RefusedError as error:
            self._refuse(order.change, str(error))
            return None
        if self._busy():
            return None
        return Request(Kind.STOP, order.reason or "order")

    def without(self, members: Sequence[int]) -> Request | None:  # noqa: ARG002
        """All ranks end with those that Slurm ends: the next launch has none of theirs."""
        return None

    def _refuse(self, change: int, why: str) -> None:
        self._last = change
        self._say(f"change {change} is refused: {why}")
        self._reporter.note(refused_change=change, refusal=why)

    def _check(self, order: Order) -> None:
        """Whether the launch that is ordered can be one.

        Raises:
            RefusedError: it cannot.
        """
        nodes = [name for name in order.nodes.split(",") if name]
        ranks = len(nodes) * self._per_node
        if order.sizes:
            raise RefusedError("ranks that cannot stay cannot measure themselves at other sizes")
        if not nodes or len(set(nodes)) < len(nodes):
            raise RefusedError(f"nodes {order.nodes!r}: expected each name once")
        if nodes[0] != self.nodes[0]:
            raise RefusedError(
                f"{self.nodes[0]}, where rank 0 is, must be the first node, not {nodes[0]}"
            )
        if nodes[: len(self.nodes)] != self.nodes or len(nodes) == len(self.nodes):
            raise RefusedError(f"{order.nodes} is not {','.join(self.nodes)} and more")
        if order.gpus and order.gpus != ranks:
            raise RefusedError(f"{order.gpus} GPUs on {order.nodes}, which has {ranks} ranks")
        try:
            Share(self._batch, 0, ranks)
        except BatchError as error:
            raise RefusedError(str(error)) from None


def handover_of(
    environment: JobEnvironment,
    ranks: int,
    state: StateDir,
    batch: int,
    reporter: Reporter,
    say: Callable[[str], None],
    busy: Callable[[], bool],
) -> Handover | None:
    """What lets a larger launch take over from this one; None where that cannot be.

    Args:
        environment: the job's variables.
        ranks: of this launch.
        batch, busy, say: as for `Handover`.
    """
    nodes = [name for name in os.environ.get(ENV_NODES, "").split(",") if name]
    per_node, made = environment.gpus_per_node, environment.handovers
    if made is None or environment.next_file is None or not per_node or not nodes:
        return None
    if environment.ranks != ranks:
        return None
    return Handover(
        state,
        environment.generation,
        environment.next_file,
        nodes,
        per_node,
        batch,
        made,
        reporter,
        say,
        busy,
    )


def tell_imports(directory: Path) -> None:
    """Keep what this process has imported for the servers that are about to start.

    The fork server does it when a launch ends (`templates/forkserver/learned.py`), which is too
    late for one that is prepared meanwhile.
    """
    learned: Any = sys.modules.get("forkserver.learned")
    if learned is not None:
        known = learned.load(str(directory))
        learned.save(str(directory), replace(known, modules=learned.installed_modules()))

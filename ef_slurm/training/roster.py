"""On rank 0: who trains, who waits to be taken in, and which changes can be made.

Live changes are numbered within a launch. A number is used once: by the change that was made, or by
the one that was refused.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from ef_slurm.contract import Order, Phase, points_text, read_sizes
from ef_slurm.training.batches import BatchError, Share
from ef_slurm.training.measuring import Round
from ef_slurm.training.progress import Reporter
from ef_slurm.training.ranks import Ranks
from ef_slurm.training.watch import Kind, Request

END = "end"
"""Under this key those that wait are told that they are not needed any more."""
WAITING = "waiting"
"""Under this key a member tells that it waits to be taken in, and who it is."""


@dataclass(frozen=True, slots=True)
class Member:
    """One process of the launch, as it tells it itself.

    Args:
        node: name of its node.
        local_rank: its number there.
        of: how many of them were started there.
        change: the live change that its companion was started for; 0: it is of the first Slurm job.
        training: a checksum over the model's parameters and the numbers that the training runs
            with.
    """

    node: str
    local_rank: int
    of: int
    change: int
    training: int

    @classmethod
    def told(cls, values: Mapping[str, Any]) -> Self:
        """From a message."""
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Plan:
    """How to go on.

    Args:
        change: its number.
        members: of each rank.
        places: of each rank: (number of its node, its number there, how many there are there).
        nodes: in rank order.
        leave: whether who trains no more ends, rather than to wait.
        step: which process group of the change, from 0.
        last: whether the change is complete with it.
    """

    change: int
    members: Sequence[int]
    places: Sequence[Sequence[int]]
    nodes: Sequence[str]
    leave: bool
    step: int = 0
    last: bool = True

    def plain(self) -> dict[str, Any]:
        """For a message."""
        return asdict(self)

    @classmethod
    def told(cls, values: Mapping[str, Any]) -> Self:
        """From a message."""
        return cls(**values)


class RefusedError(Exception):
    """A change cannot be made; the text says why."""


class Roster:
    """Who is there; see `ef_slurm.training.watch.Changes`.

    Args:
        lobby: where those wait who are no ranks.
        members: those that train, in rank order.
        batch: samples per iteration over all ranks.
        own_groups: called for whether the script has process groups of its own.
        wait: called for whether ranks that train no more can wait.
        say: prints a line into the job's log.
    """

    def __init__(
        self,
        lobby: Ranks,
        members: Mapping[int, Member],
        batch: int,
        reporter: Reporter,
        own_groups: Callable[[], bool],
        wait: Callable[[], bool],
        say: Callable[[str], None],
        busy: Callable[[], bool],
    ):
        self._lobby = lobby
        self._known = dict(members)
        self._active = list(members)
        self._batch = batch
        self._reporter = reporter
        self._own_groups = own_groups
        self._wait = wait
        self._say = say
        self._busy = busy
        self._last = 0
        self._ready = ""
        self._round: Round | None = None
        self._to_report: dict[str, Any] = {}
        self._lock = threading.Lock()

    @property
    def nodes(self) -> list[str]:
        """Those that train, in rank order."""
        return list(dict.fromkeys(self._known[member].node for member in self._active))

    @property
    def next(self) -> int:
        """Number of the next change."""
        return self._last + 1

    @property
    def others(self) -> list[int]:
        """Members that are connected and do not train."""
        return [one for one in self._lobby.came if one not in self._active]

    def going_on(self, plan: Plan, iteration: int, seconds: float) -> None:
        """Training goes on after a change, which was made.

        Args:
            seconds: how long it stood still.
        """
        self._report(
            iteration=iteration,
            change_seconds=seconds,
            nodes=",".join(plan.nodes),
            world_size=len(plan.members),
            **({"change": plan.change} if plan.last else {}),
        )

    def close(self) -> None:
        """Let those end that wait."""
        self._lobby.tell(self.others, END)
        if self._to_report:
            self._reporter.note(**self._to_report)

    def look(self, iteration: int, at: float) -> None:
        """See who has come and gone, and what was measured; report it."""
        if self._round is not None:
            self._measure(self._round, iteration, at)
        with self._lock:
            changes, self._to_report = self._to_report, {}
        waiting = self._waiting()
        nodes = dict.fromkeys(self._known[member].node for member in waiting)
        ready = ",".join(node for node in nodes if not self._missing(node, waiting))
        if changes or ready != self._ready:
            self._ready = ready
            self._reporter.note(ready=ready, **changes)

    def due(self, order: Order | None) -> Request | None:
        """The change that is due now; None for none that can be made (now)."""
        now = self._round
        if self._busy():
            return None
        if order is not None and order.change == self.next:
            own = now is not None and order.sizes == now.text
            if not own:
                self._round = None  # of two orders with its number the later one counts
                return self._ordered(order)
        return None if now is None else self._go_on(now)

    def _ordered(self, order: Order) -> Request | None:
        try:
            # Ranks of a node that have left are not missed where nobody is to come.
            same = order.nodes == ",".join(self.nodes) and order.gpus == len(self._active)
            members = self._active if same and order.sizes else self._chosen(order)
            self._check(members)
        except RefusedError as error:
            self.refuse(order.change, str(error))
            return None
        if order.sizes:
            return self._begin_round(order, members)
        if members == self._active:
            self._complete(order.change)
            return None
        return self._request(members, order.leave, order.reason or "order")

    def without(self, members: Sequence[int]) -> Request | None:
        """The change that goes on without the companions of these members."""
        companions = {self._known[member].change for member in members}
        if 0 in companions or self._own_groups():
            return None
        there = self._active if self._round is None else self._round.members
        left = [one for one in there if self._known[one].change not in companions]
        return self._request(left, True, "TERM from Slurm to a companion")

    def refuse(self, change: int, why: str) -> None:
        """This change is not made."""
        self._last, self._round = change, None
        self._say(f"change {change} is refused: {why}")
        self._reporter.note(refused_change=change, refusal=why)

    def made(self, plan: Plan) -> None:
        """This change is made, or a step of it."""
        if plan.last:
            self._last, self._round = plan.change, None
        elif self._round is not None:
            self._round.changed()
        self._active = list(plan.members)
        for member in self._active:
            self._lobby.drop(WAITING, member)

    def _report(self, **changes: Any) -> None:
        """Report this with the next look: training must not wait for the file system."""
        with self._lock:
            self._to_report |= changes

    def _complete(self, change: int) -> None:
        """A change is complete on the ranks that train."""
        self._last, self._round = change, None
        self._report(change=change)

    def _begin_round(self, order: Order, members: Sequence[int]) -> Request | None:
        sizes = [size for size in read_sizes(order.sizes) if size <= len(members)]
        problem = ""
        if members != self._active:
            problem = "sizes are measured among the ranks that train"
        elif not sizes:
            problem = f"{order.sizes} GPUs are more than its {len(members)} ranks"
        if problem:
            self.refuse(order.change, problem)
            return None
        self._report(points="")
        self._round = Round(order.change, order.sizes, members, sizes)
        return self._go_on(self._round)

    def _measure(self, now: Round, iteration: int, at: float) -> None:
        disturbed = self._busy() or self._reporter.progress.phase is not Phase.RUNNING
        if now.see(len(self._active), iteration, at, disturbed):
            point = now.points[-1]
            rate = point.iterations / point.seconds
            ranks = "1 rank" if point.gpus == 1 else f"{point.gpus} ranks"
            self._say(f"{rate:.4g} iterations/s on {ranks} ({point.seconds:.1f} s)")
            self._report(points=points_text(now.points))

    def _go_on(self, now: Round) -> Request | None:
        """The step of a round that is due."""
        while not now.is_over:
            if now.next == len(self._active):
                return None  # it is being measured
            members = now.members[: now.next]
            try:
                if not self._wait():
                    raise RefusedError("a loop over epochs cannot wait while others train")
                self._check(members)
                self._check_whole(members)
            except RefusedError as error:
                self._say(f"{now.next} ranks are not measured: {error}")
                now.skip()
                continue
            return self._step(now, members, last=False)
        if len(self._active) == len(now.members):
            self._complete(now.change)
            return None
        return self._step(now, now.members, last=True)

    def _step(self, now: Round, members: Sequence[int], last: bool) -> Request:
        now.steps += 1
        reason = "measured" if last else f"to measure {len(members)} of {len(now.members)} ranks"
        return self._request(members, False, reason, now.steps, last)

    def _request(
        self, members: Sequence[int], leave: bool, reason: str, step: int = 0, last: bool = True
    ) -> Request:
        nodes = list(dict.fromkeys(self._known[member].node for member in members))
        there = [[one for one in members if self._known[one].node == node] for node in nodes]
        places = [
            [number, place, len(some)]
            for number, some in enumerate(there)
            for place in range(len(some))
        ]
        ordered = [one for some in there for one in some]
        plan = Plan(self.next, ordered, places, nodes, leave, step, last)
        return Request(Kind.RESIZE, reason, plan.plain())

    def _chosen(self, order: Order) -> list[int]:
        nodes = [name for name in order.nodes.split(",") if name]
        first = self._known[self._active[0]].node
        if not nodes or len(set(nodes)) < len(nodes):
            raise RefusedError(f"nodes {order.nodes!r}: expected each name once")
        if nodes[0] != first:
            raise RefusedError(f"{first}, where rank 0 is, must be the first node, not {nodes[0]}")
        waiting = self._waiting()
        chosen: list[int] = []
        for node in nodes:
            if problem := self._missing(node, waiting):
                raise RefusedError(problem)
            there = [one for one in (*self._active, *waiting) if self._known[one].node == node]
            chosen += sorted(there, key=lambda one: (self._known[one].local_rank, one))
        if order.gpus and order.gpus < len(chosen) and len(nodes) == 1:
            return chosen[: order.gpus]
        if order.gpus and order.gpus != len(chosen):
            raise RefusedError(f"{order.gpus} GPUs on {order.nodes}, which has {len(chosen)} ranks")
        return chosen

    def _check(self, members: Sequence[int]) -> None:
        try:
            Share(self._batch, 0, len(members))
        except BatchError as error:
            raise RefusedError(str(error)) from None
        training = self._known[self._active[0]].training
        for one in members:
            if self._known[one].training != training:
                raise RefusedError(
                    f"{self._known[one].node} runs another training: its model or numbers differ"
                )
        if self._own_groups():
            raise RefusedError("the script has process groups of its own, which would be lost")

    def _check_whole(self, members: Sequence[int]) -> None:
        """On several nodes, each as a whole."""
        nodes = [self._known[one].node for one in members]
        for node in dict.fromkeys(nodes):
            if nodes.count(node) < min(len(nodes), self._known[members[nodes.index(node)]].of):
                raise RefusedError(f"they are a part of {node}")

    def _waiting(self) -> list[int]:
        """Members that can be taken in, in the order of nodes and ranks there."""
        found = []
        for member in self.others:
            told = self._lobby.said(WAITING, member)
            if told is None:
                continue
            try:
                self._known[member] = Member.told(told)
            except TypeError:  # of another version of ef-slurm: it waits in vain
                continue
            found.append(member)
        return sorted(found)

    def _missing(self, node: str, waiting: Sequence[int]) -> str:
        """What a node lacks to be used as a whole; nothing if it can be."""
        known = [self._known[one] for one in (*self._active, *waiting)]
        there = [one for one in known if one.node == node]
        if not there:
            return f"{node}: no ranks are there"
        if len(there) < there[0].of:
            return f"{node}: {len(there)} of {there[0].of} ranks are there"
        return ""

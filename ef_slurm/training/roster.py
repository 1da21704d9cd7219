"""On rank 0: who trains, who waits to be taken in, and which changes can be made.

Live changes are numbered within a launch. A number is used once: by the change that was made, or by
the one that was refused.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from ef_slurm.contract import Order
from ef_slurm.training.batches import BatchError, Share
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
    """

    change: int
    members: Sequence[int]
    places: Sequence[Sequence[int]]
    nodes: Sequence[str]
    leave: bool

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
        say: prints a line into the job's log.
    """

    def __init__(
        self,
        lobby: Ranks,
        members: Mapping[int, Member],
        batch: int,
        reporter: Reporter,
        own_groups: Callable[[], bool],
        say: Callable[[str], None],
        busy: Callable[[], bool],
    ):
        self._lobby = lobby
        self._known = dict(members)
        self._active = list(members)
        self._batch = batch
        self._reporter = reporter
        self._own_groups = own_groups
        self._say = say
        self._busy = busy
        self._last = 0
        self._ready = ""
        self._to_report: dict[str, Any] = {}

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

    def report(self, **changes: Any) -> None:
        """Report this with the next look: training must not wait for the file system."""
        self._to_report = changes

    def close(self) -> None:
        """Let those end that wait."""
        self._lobby.tell(self.others, END)
        if self._to_report:
            self._reporter.note(**self._to_report)

    def look(self) -> None:
        """See who has come and gone, and report it."""
        changes, self._to_report = self._to_report, {}
        waiting = self._waiting()
        nodes = dict.fromkeys(self._known[member].node for member in waiting)
        ready = ",".join(node for node in nodes if not self._missing(node, waiting))
        if changes or ready != self._ready:
            self._ready = ready
            self._reporter.note(ready=ready, **changes)

    def ordered(self, order: Order) -> Request | None:
        """The change that an order asks for; None for none that can be made (now)."""
        if order.change != self.next or self._busy():
            return None
        try:
            members = self._chosen(order)
            self._check(members)
        except RefusedError as error:
            self.refuse(order.change, str(error))
            return None
        if members == self._active:
            self._last = order.change
            self._reporter.note(change=order.change)
            return None
        return self._request(members, order.leave, order.reason or "order")

    def without(self, members: Sequence[int]) -> Request | None:
        """The change that goes on without the companions of these members."""
        companions = {self._known[member].change for member in members}
        if 0 in companions or self._own_groups():
            return None
        left = [one for one in self._active if self._known[one].change not in companions]
        return self._request(left, True, "TERM from Slurm to a companion")

    def refuse(self, change: int, why: str) -> None:
        """This change is not made."""
        self._last = change
        self._say(f"change {change} is refused: {why}")
        self._reporter.note(refused_change=change, refusal=why)

    def made(self, plan: Plan) -> None:
        """This change is made."""
        self._last = plan.change
        self._active = list(plan.members)
        for member in self._active:
            self._lobby.drop(WAITING, member)

    def _request(self, members: Sequence[int], leave: bool, reason: str) -> Request:
        nodes = list(dict.fromkeys(self._known[member].node for member in members))
        there = [[one for one in members if self._known[one].node == node] for node in nodes]
        places = [
            [number, place, len(some)]
            for number, some in enumerate(there)
            for place in range(len(some))
        ]
        ordered = [one for some in there for one in some]
        plan = Plan(self.next, ordered, places, nodes, leave)
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

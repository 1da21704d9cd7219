"""What happens in one life of the daemon, as data: a list of events that can be shortened."""

from __future__ import annotations

import enum
from dataclasses import MISSING, dataclass, fields


class Behaviour(enum.Enum):
    """What a job's training does and reports."""

    HONEST = "honest"
    SLOW = "slow"  # much slower than its curve
    SILENT = "silent"  # reports nothing
    GARBAGE = "garbage"  # reports any bytes
    SAYS_DONE = "says done"  # from the beginning, and goes on
    NEVER_ENDS = "never ends"  # stands still before its last iteration
    JUMPS = "jumps"  # its iteration goes up and down
    DEAF = "deaf"  # obeys no order
    FAILS = "fails"  # its script exits with an error


class Live(enum.Enum):
    """How a training answers that may change its size while it runs."""

    WILLING = "willing"
    SUBMITS_NONE = "submits none"  # Slurm takes no companion of it
    REFUSES = "refuses"  # to go on at any other size
    NAMES_ANOTHER = "names another"  # says that somebody's job is its companion


class Stage(enum.Enum):
    """How far a companion is."""

    SUBMITTED = "submitted"  # and held
    WAITS = "waits"  # released, and not started yet
    RUNS = "runs"
    TRAINS = "trains"


class Befalls(enum.Enum):
    """What happens to a companion."""

    CANCELLED = "cancelled"  # this and the next ones by its owner
    HELD = "held"
    RELEASED = "released"
    RENAMED = "renamed"  # its comment says nothing any more
    NODE_DIES = "node dies"
    FORGOTTEN = "forgotten"


class What(enum.Enum):
    """Kinds of events. `number` and `amount` of an event mean what is said here."""

    SUBMIT = "submit"  # the event's `job`
    # In Slurm, behind the daemon's back, to job `number`.
    CANCEL = "cancel"
    REQUEUE = "requeue"
    HOLD = "hold"
    OPERATOR_HOLDS = "operator holds"
    SLURM_HOLDS = "Slurm holds"
    RELEASE = "release"
    OWNER_UPDATES = "owner updates"  # the time limit, to `amount` seconds
    SCRIPT_DIES = "script dies"
    # Asked of the daemon by the owner of job `number`.
    ASKS_HOLD = "asks hold"
    ASKS_RELEASE = "asks release"
    ASKS_REQUEUE = "asks requeue"
    ASKS_TOP = "asks top"
    CHANGES_DEADLINE = "changes deadline"  # to `amount` seconds from now
    CHANGES_ITERATIONS = "changes iterations"  # times `amount`
    WITHDRAWS = "withdraws"
    TRAINS_ON = "trains on"  # `amount` GPUs
    JUDGE = "judge"  # what would become of the event's `job`
    LOOK = "look"  # everybody looks at everything
    HOSTILE = "hostile"  # a request made of the number, about job `amount`
    COMPANION = "companion"  # of kind `amount`, to the next one that comes to stage `number`
    # Nodes; `number` says which.
    DRAIN = "drain"
    NODE_DIES = "node dies"
    NODE_RETURNS = "node returns"
    STRANGER = "stranger"  # somebody's job for `amount` seconds
    # Slurm
    SLURM_SILENT = "Slurm silent"  # for `amount` seconds
    SLURM_OLDER = "Slurm older"  # it comes back as it was `amount` seconds before
    SLURM_FORGETS = "Slurm forgets"  # job `number`
    COMMAND_FAULT = "command fault"  # of kind `amount`, at the `number`-th command from now
    ACT_FAULT = "act fault"  # of kind `amount`, at the next command of kind `number`
    # The daemon; killed before its effect, or after it where `amount` is 1.
    KILLED_AT_WRITE = "killed at write"
    KILLED_AT_PROMISE = "killed at promise"  # at the `number`-th write from the next one on
    KILLED_AT_COMPANION = "killed at companion"  # at the `number`-th write of one
    KILLED_AT_COMMAND = "killed at command"
    KILLED_AT_ACT = "killed at act"  # at the next command of kind `number`
    KILLED_AT_ORDER = "killed at order"  # or at a record
    RESTART = "restart"
    LOSES_QUEUE = "loses queue"  # and has it rebuilt after `amount` seconds
    DISK_FULL = "disk full"  # for `amount` seconds
    ORDERS_FAIL = "orders fail"  # and records, for `amount` seconds
    CLOCK = "clock"  # the daemon's, by `amount` seconds
    MISBEHAVES = "misbehaves"  # job `number` from now on, as the `amount`-th behaviour


OWNERS = frozenset(
    {
        *(What.CANCEL, What.REQUEUE, What.HOLD, What.OPERATOR_HOLDS, What.RELEASE),
        *(What.OWNER_UPDATES, What.ASKS_HOLD, What.ASKS_RELEASE, What.ASKS_REQUEUE),
        *(What.ASKS_TOP, What.CHANGES_DEADLINE, What.CHANGES_ITERATIONS, What.WITHDRAWS),
        *(What.TRAINS_ON,),
    }
)
"""What owners and operators do to one job: that job's promise is theirs, and nobody else's."""

HARMLESS = frozenset({What.SUBMIT, What.JUDGE, What.LOOK, What.HOSTILE})
"""What must not matter to anybody's promise."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """One job as it is submitted.

    Args:
        user: whose, by number.
        iterations: to train.
        deadline: seconds from its submission; None: best effort.
        grace: seconds by which it may be late.
        waits: on the waiting list, where it cannot be promised.
        known: whether its curve is; else it is to be measured.
        told: whether its iterations are; else its script says.
        begin: seconds from its submission before which it may not start.
        after: the job after which it may start, by number.
        members: of an array.
        max_time: its --time, seconds.
        live: how it changes its size while it runs; None: it does not.
        hands_over: whether that is by a larger launch, which takes over.
    """

    user: int = 0
    iterations: int = 2000
    deadline: float | None = None
    grace: float = 0.0
    waits: bool = False
    known: bool = True
    told: bool = True
    begin: float | None = None
    after: int | None = None
    members: int = 1
    max_time: float | None = None
    behaviour: Behaviour = Behaviour.HONEST
    live: Live | None = None
    hands_over: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens `at` seconds from the beginning.

    Args:
        during: 0 for between two ticks; n for in the midst of one, before its n-th command.
    """

    at: float
    what: What
    number: int = 0
    amount: float = 0.0
    during: int = 0
    job: Submitted | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """One life.

    Args:
        nodes: how many; half of them have GPUs of a second type where `types` is 2.
        private: whether users see their own jobs only (PrivateData=jobs).
        resubmits: whether the daemon may submit the first user's jobs again.
        min_job_age: seconds for which Slurm remembers ended jobs.
        accounting: whether there is slurmdbd, which tells how jobs ended that Slurm has forgotten.
        as_owner: whether the daemon holds jobs as their owner does, and not as an operator.
    """

    events: tuple[Event, ...]
    nodes: int = 4
    gpus_per_node: int = 4
    types: int = 1
    private: bool = False
    resubmits: bool = False
    min_job_age: float = 300.0
    as_owner: bool = False
    accounting: bool = False


def as_code(value: object) -> str:
    """A story as Python: what has its default is left out."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, tuple):
        inner = "".join(f"\n    {as_code(each)}," for each in value)
        return f"({inner}\n)"
    if isinstance(value, Story | Event | Submitted):
        given = [
            (each.name, getattr(value, each.name))
            for each in fields(value)
            if each.default is MISSING or getattr(value, each.name) != each.default
        ]
        if isinstance(value, Event):
            positional = [as_code(each) for _, each in given[:2]]
            named = [f"{name}={as_code(each)}" for name, each in given[2:]]
            return f"Event({', '.join(positional + named)})"
        return f"{type(value).__name__}({', '.join(f'{n}={as_code(v)}' for n, v in given)})"
    return repr(value)

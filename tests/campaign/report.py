"""What a campaign came to, as a page of Markdown."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from tests.campaign.growths import Grown
from tests.campaign.ledger import Done

KINDS_OF_WRONG = (
    "job lost",
    "double start",
    "checkpoint lost",
    "promise weakened",
    "GPU given twice",
    "companion left",
)


@dataclass(frozen=True)
class Broken:
    """A promise that was broken.

    Args:
        late: seconds after the deadline at which the job ended; None where it has not.
        cause: the kind of fault that took most of its time; "" if none did.
        lost: seconds that it took.
    """

    name: str
    late: float | None
    launches: int
    cause: str
    lost: float


@dataclass(frozen=True)
class Outcome:
    """A campaign.

    Args:
        seconds: from the first fault until the last job had ended.
        states: of the queue's jobs, by how many.
        promises: outcomes, by how many.
        wrong: kind and text of whatever must not be.
        told: jobs that do not run, as their users were told: Slurm has forgotten them, or the
            daemon was away for as long as they tried to register them.
        grown: changes of size while jobs trained, by how they do it.
        redone: iterations trained again, of all that were trained.
    """

    faults: Sequence[Done]
    seconds: float
    submitted: int
    unanswered: int
    states: dict[str, int]
    promises: dict[str, int]
    broken: Sequence[Broken]
    wrong: Sequence[tuple[str, str]]
    told: Sequence[str]
    grown: Sequence[Grown]
    launches: int
    redone: tuple[int, int]
    looks: int
    blind: int

    @property
    def is_good(self) -> bool:
        """Whether nothing was that must not be, and every broken promise has its fault."""
        return not self.wrong and all(each.cause for each in self.broken)


def markdown(outcome: Outcome) -> str:
    """The page."""
    faults = outcome.faults
    again, trained = outcome.redone
    wrong = Counter(kind for kind, _ in outcome.wrong)
    lines = [
        f"{len(faults)} faults in {outcome.seconds / 60:.0f} minutes; {outcome.submitted} jobs "
        f"submitted ({outcome.unanswered} of them without an answer), {outcome.launches} launches; "
        f"{outcome.looks} looks from outside, {outcome.blind} parts of which saw nothing.",
        "",
        "| fault | how often | seconds in force (median, longest) | promises it broke |",
        "|---|---|---|---|",
    ]
    causes = Counter(each.cause for each in outcome.broken)
    for kind, seconds in sorted(_by_kind(faults).items()):
        lines.append(
            f"| {kind} | {len(seconds)} | {median(seconds):.1f}, {max(seconds):.1f} | "
            f"{causes[kind]} |"
        )
    lines += ["", "| what | how many |", "|---|---|"]
    lines += [f"| {_PLURALS[kind]} | {wrong[kind]} |" for kind in KINDS_OF_WRONG]
    lines.append(f"| jobs that do not run, as their users were told | {len(outcome.told)} |")
    lines += [f"| jobs {state} | {count} |" for state, count in sorted(outcome.states.items())]
    lines += [f"| promises {how} | {count} |" for how, count in sorted(outcome.promises.items())]
    lines.append(f"| broken promises without a fault | {causes['']} |")
    lines.append(f"| iterations trained again | {100 * again / max(1, trained):.1f} % |")
    lines += _growths(outcome.grown)
    if outcome.broken:
        lines += ["", "| broken promise | late by | launches | the fault | seconds that it took |"]
        lines.append("|---|---|---|---|---|")
        lines += [_broken(each) for each in outcome.broken]
    lines += [f"- told: {text}" for text in outcome.told]
    lines += [f"- {kind}: {text}" for kind, text in outcome.wrong]
    return "\n".join(lines) + "\n"


_PLURALS = {
    "job lost": "jobs lost",
    "double start": "double starts",
    "checkpoint lost": "checkpoints lost",
    "promise weakened": "promises weakened",
    "GPU given twice": "GPUs given twice",
    "companion left": "companions left behind",
}


def _by_kind(faults: Iterable[Done]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for fault in faults:
        found[fault.kind].append(fault.healed - fault.begun)
    return found


def _growths(grown: Iterable[Grown]) -> list[str]:
    lines = [
        "",
        "| changes of size | jobs | begun | succeeded | came to nothing |",
        "|---|---|---|---|---|",
    ]
    beside: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    why: Counter[str] = Counter()
    for each in grown:
        begun, succeeded = each.with_fault
        failed = each.begun - each.succeeded
        lines.append(
            f"| {each.training.value} | {each.jobs} | {each.begun}, {begun} of them beside a "
            f"fault | {each.succeeded}, {succeeded} | {failed}, {begun - succeeded} |"
        )
        for kind, counts in each.beside.items():
            beside[kind] = [a + b for a, b in zip(beside[kind], counts, strict=True)]
        why.update(each.why)
    if beside:
        lines += ["", "| fault in force | beside changes that succeeded | that came to nothing |"]
        lines.append("|---|---|---|")
        lines += [f"| {kind} | {a} | {b} |" for kind, (a, b) in sorted(beside.items())]
    return lines + [f"- came to nothing, {number}: {text}" for text, number in why.most_common()]


def _broken(each: Broken) -> str:
    late = "not ended" if each.late is None else f"{each.late:.0f} s"
    cause = each.cause or "none"
    return f"| {each.name} | {late} | {each.launches} | {cause} | {each.lost:.0f} |"

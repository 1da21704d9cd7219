"""A seed becomes a story."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from tests.simulation.faults import ACTS, CommandFault
from tests.simulation.story import (
    Befalls,
    Behaviour,
    Event,
    Live,
    Stage,
    Story,
    Submitted,
    What,
)

USERS = 3
RATES = {1: 10.0, 2: 18.0, 4: 32.0, 8: 56.0, 16: 90.0}
"""Iterations/s by GPUs that every job's curve says."""

LENGTH_SECONDS = 400.0
"""The time in which things happen; what was begun then ends by itself."""

LONGER = 4
"""How many times longer jobs train that may grow meanwhile: for the others it does not pay."""

OWNERS_DO = (
    *(What.CANCEL, What.REQUEUE, What.HOLD, What.OPERATOR_HOLDS, What.RELEASE, What.RELEASE),
    *(What.OWNER_UPDATES, What.ASKS_HOLD, What.ASKS_RELEASE, What.ASKS_RELEASE),
    *(What.ASKS_REQUEUE, What.ASKS_TOP, What.CHANGES_DEADLINE, What.CHANGES_ITERATIONS),
    *(What.WITHDRAWS, What.TRAINS_ON),
)
BEFALLS = (
    *(What.DRAIN, What.NODE_DIES, What.NODE_RETURNS, What.STRANGER),
    *(What.SLURM_SILENT, What.SLURM_OLDER, What.SLURM_FORGETS, What.SLURM_HOLDS),
    *(What.COMMAND_FAULT, What.COMMAND_FAULT, What.COMMAND_FAULT),
    *(What.KILLED_AT_WRITE, What.KILLED_AT_WRITE, What.KILLED_AT_COMMAND),
    *(What.KILLED_AT_COMMAND, What.KILLED_AT_ORDER, What.RESTART),
    *(What.DISK_FULL, What.ORDERS_FAIL, What.CLOCK, What.MISBEHAVES, What.SCRIPT_DIES),
)


def story_of(seed: int) -> Story:
    """The story of a seed: the same one each time. Every fourth has no fault in it."""
    random = Random(seed)
    clean = seed % 4 == 0
    nodes, gpus = random.choice(((1, 4), (2, 2), (2, 4), (4, 4), (4, 1), (4, 2)))
    events = [_submission(random, clean, nodes * gpus) for _ in range(random.randint(2, 5))]
    jobs = len(events)
    for _ in range(random.choice((0, 0, 1, 2, 3))):
        events.append(_owners(random, random.choice(OWNERS_DO), jobs))
    for _ in range(random.choice((0, 1, 1, 2))):
        events.append(_request(random, nodes * gpus))
    if not clean:
        for _ in range(random.randint(1, 5)):
            events.append(_befalls(random, random.choice(BEFALLS), jobs))
    aimed, resubmitting = ([], False) if clean else _aimed(Random(f"{seed} aimed"), jobs)
    events += aimed
    if seed % 7 == 2:
        events = _live(Random(f"{seed} live"), clean, events, nodes)
        events = _handing_over(Random(f"{seed} hands over"), events)
    if seed % 11 == 3 and not clean:
        lost = Random(f"{seed} lost")
        events.append(Event(_moment(lost), What.LOSES_QUEUE, amount=lost.uniform(1.0, 60.0)))
    return Story(
        events=tuple(sorted(events, key=lambda event: event.at)),
        nodes=nodes,
        gpus_per_node=gpus,
        types=2 if nodes > 1 and random.random() < 0.15 else 1,
        private=random.random() < 0.3,
        resubmits=random.random() < 0.5 or resubmitting,
        min_job_age=random.choice((60.0, 300.0, 1e9)),
        as_owner=random.random() < 0.15,
        accounting=Random(f"{seed} accounting").random() < 0.5,
    )


def _moment(random: Random) -> float:
    return round(random.uniform(0.0, LENGTH_SECONDS), 1)


def _during(random: Random) -> int:
    """Half of what happens comes in the midst of a tick."""
    return random.choice((0, 0, 1, 2, 3, 5))


def _job(random: Random, clean: bool, gpus: int) -> Submitted:
    iterations = random.randrange(300, 6000, 100)
    best = max(rate for size, rate in RATES.items() if size <= gpus)
    deadline = None
    if random.random() < 0.75:
        deadline = round(iterations / best * random.uniform(1.1, 4.0) + random.uniform(20, 90), 1)
    behaviour = Behaviour.HONEST
    if not clean and random.random() < 0.25:
        behaviour = random.choice(tuple(Behaviour))
    return Submitted(
        user=random.randrange(USERS),
        iterations=iterations,
        deadline=deadline,
        grace=60.0 if deadline is not None and random.random() < 0.2 else 0.0,
        waits=random.random() < 0.5,
        known=random.random() < 0.85,
        told=random.random() < 0.9,
        begin=round(random.uniform(10, 120), 1) if random.random() < 0.1 else None,
        after=random.randrange(5) if random.random() < 0.15 else None,
        members=random.choice((2, 3)) if random.random() < 0.08 else 1,
        max_time=random.choice((120.0, 600.0)) if random.random() < 0.08 else None,
        behaviour=behaviour,
    )


def _submission(random: Random, clean: bool, gpus: int) -> Event:
    at = round(random.uniform(0.0, LENGTH_SECONDS / 2), 1)
    return Event(at, What.SUBMIT, during=_during(random), job=_job(random, clean, gpus))


def _request(random: Random, gpus: int) -> Event:
    what = random.choice((What.JUDGE, What.LOOK, What.HOSTILE, What.HOSTILE))
    job = _job(random, True, gpus) if what is What.JUDGE else None
    number = random.randrange(1_000_000)
    return Event(_moment(random), what, number, float(random.randrange(5)), _during(random), job)


def _aimed(random: Random, jobs: int) -> tuple[list[Event], bool]:
    """Something at the very place at which it hurts; whether jobs are to be submitted again.

    Among hundreds of writes and commands few stand between two that belong together.
    """
    at, after = round(_moment(random) / 2, 1), float(random.random() < 0.5)
    match random.randrange(10):
        case 0:
            # Slurm forgets a job that waits, and the daemon dies while it submits it again.
            job = Submitted(iterations=random.randrange(300, 3000, 100), begin=at + 60.0)
            submit = sorted(ACTS).index("submit")
            return [
                Event(0.0, What.SUBMIT, job=job),
                Event(at, What.KILLED_AT_ACT, submit, 1.0),
                Event(at, What.SLURM_FORGETS, 0),
            ], True
        case 1:
            return [Event(at, What.KILLED_AT_ACT, random.randrange(len(ACTS)), after)], False
        case 2 | 3:
            return [Event(at, What.KILLED_AT_PROMISE, random.randrange(3), after)], False
        case 4 | 5:
            act = sorted(ACTS).index(random.choice((*sorted(ACTS), "release", "release")))
            fault = tuple(CommandFault).index(
                random.choice((*CommandFault, CommandFault.REFUSED, CommandFault.REFUSED))
            )
            return [Event(at, What.ACT_FAULT, act, float(fault))], False
        case 6:
            return [Event(at, What.SCRIPT_DIES, random.randrange(jobs))], False
    return [], False


def _live(random: Random, clean: bool, events: list[Event], nodes: int) -> list[Event]:
    """The same with jobs that change their size while they run, and what befalls companions.

    They grow where somebody leaves: the first ones begin beside a stranger, who goes soon.
    """
    found = list[Event]()
    for event in events:
        if event.job is not None and event.what is What.SUBMIT and random.random() < 0.8:
            answer = random.choice(tuple(Live)) if not clean and random.random() < 0.4 else None
            job = event.job
            due = None if job.deadline is None else round(LONGER * job.deadline, 1)
            longer = LONGER * job.iterations
            job = replace(job, iterations=longer, deadline=due, live=answer or Live.WILLING)
            found.append(replace(event, job=job))
        else:
            found.append(event)
    if clean:
        return found
    for node in range(1, nodes):
        found.append(Event(0.0, What.STRANGER, node, round(random.uniform(30.0, 120.0), 1)))
    for _ in range(random.randint(0, 3)):
        stage, what = random.randrange(len(Stage)), float(random.randrange(len(Befalls)))
        found.append(Event(_moment(random) / 2, What.COMPANION, stage, what))
    for _ in range(random.randint(0, 2)):
        number, after = random.randrange(6), float(random.random() < 0.5)
        found.append(Event(_moment(random) / 2, What.KILLED_AT_COMPANION, number, after))
    return found


def _handing_over(random: Random, events: list[Event]) -> list[Event]:
    """The same; the ranks of some of these jobs cannot stay."""

    def chosen(event: Event) -> Event:
        if event.job is None or event.job.live is None or random.random() < 0.6:
            return event
        return replace(event, job=replace(event.job, hands_over=True))

    return [chosen(event) for event in events]


def _owners(random: Random, what: What, jobs: int) -> Event:
    amount = 0.0
    match what:
        case What.OWNER_UPDATES:
            amount = random.choice((60.0, 600.0, 3600.0))
        case What.CHANGES_DEADLINE:
            amount = round(random.uniform(20.0, 900.0), 1)
        case What.CHANGES_ITERATIONS:
            amount = random.choice((0.5, 0.9, 1.1, 3.0))
        case What.TRAINS_ON:
            amount = float(random.choice((1, 2, 4)))
    return Event(_moment(random), what, random.randrange(jobs), amount, _during(random))


def _befalls(random: Random, what: What, jobs: int) -> Event:
    number, amount, during = random.randrange(8), 0.0, _during(random)
    match what:
        case What.STRANGER:
            amount = round(random.uniform(20.0, 200.0), 1)
        case What.SLURM_SILENT | What.DISK_FULL | What.ORDERS_FAIL:
            amount, during = round(random.uniform(5.0, 120.0), 1), 0
        case What.SLURM_OLDER:
            amount = round(random.uniform(1.0, 30.0), 1)
        case What.COMMAND_FAULT:
            number, amount = random.randrange(12), float(random.randrange(len(CommandFault)))
        case What.KILLED_AT_WRITE | What.KILLED_AT_COMMAND:
            number, amount, during = random.randrange(30), float(random.random() < 0.5), 0
        case What.KILLED_AT_ORDER:
            number, amount, during = random.randrange(3), float(random.random() < 0.5), 0
        case What.RESTART:
            amount, during = round(random.uniform(0.0, 120.0), 1), 0
        case What.CLOCK:
            amount = random.choice((-3600.0, -60.0, -1.5, 1.5, 60.0, 3600.0))
            during = 0
        case What.MISBEHAVES:
            number, amount = random.randrange(jobs), float(random.randrange(len(Behaviour)))
    return Event(_moment(random), what, number, amount, during)

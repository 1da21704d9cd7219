"""One campaign: faults, jobs and looks at the same time, and what came of it."""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from enum import Enum
from pathlib import Path

from mini.client import MiniSlurm

from tests.campaign.growths import count
from tests.campaign.hosts import HostError, Hosts
from tests.campaign.injector import Injector
from tests.campaign.kinds import Maker
from tests.campaign.ledger import explain
from tests.campaign.observer import FINAL, LOOK_SECONDS, Observer, Row, some_job_grows
from tests.campaign.report import Broken, Outcome
from tests.campaign.service import Service, clock_library
from tests.campaign.stream import RATES, REAL_RATES, Stream
from tests.cluster.daemon_bench import Bench

MOST_JOBS = 14
"""In the queue at once: more than the GPUs hold, and no more than two cores bear. With fewer, nodes
are free at times, and jobs grow onto them."""
WARM_UP_SECONDS = 20.0
DRAIN_SECONDS = 900.0
GOOD_ENDS = frozenset({"completed", "rejected"})
FORGOTTEN = "lost"
"""State of a job that Slurm does not know any more, and that only its owner may submit again."""


@dataclass(frozen=True)
class Plan:
    """What is to be tried.

    Args:
        every, job_every: seconds from one fault to the next, and from one job to the next.
        most: jobs in the queue at once.
        on_growth: each fault waits until a job is about to grow while it trains.
        log: what happens is written here, a line of JSON each.
    """

    cluster: str
    faults: int
    seed: int
    every: float
    job_every: float
    log: Path
    most: int = MOST_JOBS
    on_growth: bool = False


@dataclass(frozen=True)
class Log:
    """What happens, written down as it does, by several threads."""

    path: Path
    lock: threading.Lock

    def __call__(self, what: str, it: object) -> None:
        told = asdict(it) if is_dataclass(it) and not isinstance(it, type) else it
        line = json.dumps({"at": round(time.time(), 3), "what": what, "it": told}, default=_plain)
        with self.lock, self.path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def _plain(value: object) -> object:
    return value.value if isinstance(value, Enum) else sorted(value)  # type: ignore[call-overload]


def play(plan: Plan) -> Outcome:
    """Run a campaign to its end.

    Raises:
        UserError: it cannot be tried on this cluster.
        HostError: the daemon does not start, or not all could be seen at the end.
    """
    hosts = Hosts.of(plan.cluster)
    cluster = MiniSlurm.named(plan.cluster)
    assert cluster is not None
    site = Bench(cluster).site
    log = hosts.cluster.directory / "log"
    clock = clock_library(log)
    if clock is None:
        print("no C compiler: the daemon's clock is left alone", file=sys.stderr)
    service = Service(hosts, site, clock, "/var/log/minislurm/ctl-ef-schedd.log")
    tell = Log(plan.log, threading.Lock())
    hosts.mend()
    for old in (*log.glob("campaign-*.trace"), *log.glob("campaign-*.log*")):
        old.unlink()
    hosts.run("login", f"rm -rf {site.jobs_dir}/*", check=False)
    cluster.heal()
    service.start()
    began = time.time()
    tell("begin", {"rates": (RATES, REAL_RATES), **{k: str(v) for k, v in asdict(plan).items()}})
    observer = Observer(hosts, service, tell)
    observer.begin()
    stream = Stream(
        hosts,
        site.paths["checkout"],
        every=plan.job_every,
        most=plan.most,
        active=observer.active,
        tell=tell,
        seed=plan.seed,
    )
    injector = Injector(
        hosts,
        plan.every,
        tell,
        plan.seed,
        moment=lambda: not plan.on_growth or some_job_grows(service),
    )
    looked, sent = threading.Event(), threading.Event()
    watching = threading.Thread(target=observer.run, args=(looked,))
    sending = threading.Thread(target=stream.run, args=(sent,))
    watching.start()
    sending.start()
    try:
        time.sleep(WARM_UP_SECONDS)
        maker = Maker(hosts, service, random.Random(plan.seed))
        injector.play(iter(maker.faults(plan.faults)))
        sent.set()
        sending.join()
        _drain(observer, injector)
    finally:
        sent.set()
        looked.set()
        sending.join()
        watching.join()
    observer.look()
    told = _what_is_left(observer, stream)
    outcome = _outcome(observer, injector, stream, time.time() - began, told)
    for growth in observer.growths.values():
        tell("growth", growth)
    for each in outcome.broken:
        tell("broken", {**asdict(each), "story": _story(service, observer.jobs[each.name])})
    for name, row in observer.jobs.items():
        if row["state"] not in GOOD_ENDS or _is_only_called_completed(name, row, observer):
            tell("bad end", {"name": name, "story": _story(service, row)})
    service.stop()
    return outcome


def _drain(observer: Observer, injector: Injector) -> None:
    """Until every job has ended, or none will."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < deadline:
        observer.look()
        if not observer.active() and not observer.companions:
            return
        try:
            injector.care()
        except HostError as problem:
            print(f"care: {problem}", file=sys.stderr)
        time.sleep(3)


def _what_is_left(observer: Observer, stream: Stream) -> list[str]:
    """Jobs that did not come to a good end, that were forgotten, or that are in Slurm twice.

    Returns:
        Those that do not run, and whose users were told so, and how to go on.
    """
    told: list[str] = []
    for sent in stream.sent:
        row = observer.jobs.get(sent.name)
        ids = observer.slurm_ids[sent.name]
        if row is None:
            if sent.job_id and sent.answer:
                told.append(f"{sent.name} ({sent.job_id}): {sent.answer.splitlines()[-1]}")
            elif sent.job_id:
                observer.found_wrong("job lost", f"{sent.name} ({sent.job_id}): never in the queue")
            for number in ids:
                state = observer.slurm_states.get(number, "")
                observer.tell("left", f"{sent.name} ({number}) is {state}: {sent.answer}")
            continue
        if row["state"] == FORGOTTEN and not observer.trace(sent.name).has_finished:
            told.append(f"{sent.name} ({row['slurm_job_id']}): {row['note']}")
        elif row["state"] not in GOOD_ENDS:
            why = f"{sent.name} ({row['slurm_job_id']}) is {row['state']}"
            observer.found_wrong("job lost", why)
        elif _is_only_called_completed(sent.name, row, observer):
            why = f"{sent.name} has completed, and its training has not"
            observer.found_wrong("job lost", why)
        if len(ids) > 1:
            observer.found_wrong("double start", f"{sent.name} is in Slurm as {sorted(ids)}")
    for line in observer.companions.values():
        observer.found_wrong("companion left", line)
    return told


def _is_only_called_completed(name: str, row: Row, observer: Observer) -> bool:
    return row["state"] == "completed" and not observer.trace(name).has_finished


def _outcome(
    observer: Observer, injector: Injector, stream: Stream, seconds: float, told: Sequence[str]
) -> Outcome:
    by_id = {int(row["id"]): row for row in observer.jobs.values()}
    broken = [
        _broken(by_id[int(promise["job_id"])], promise, observer, injector)
        for promise in observer.promises.values()
        if promise["outcome"] == "broken"
    ]
    traces = [observer.trace(name) for name in observer.jobs]
    trained = sum(max((f.iteration for f in trace.facts), default=0) for trace in traces)
    again = sum(trace.redone() for trace in traces)
    trainings = {sent.name: sent.training for sent in stream.sent}
    return Outcome(
        faults=injector.done,
        seconds=seconds,
        submitted=len(stream.sent),
        unanswered=sum(not sent.job_id for sent in stream.sent),
        states=dict(Counter(str(row["state"]) for row in observer.jobs.values())),
        promises=dict(Counter(str(row["outcome"]) for row in observer.promises.values())),
        broken=broken,
        wrong=observer.wrong,
        told=told,
        grown=count(trainings, observer.growths.values(), injector.done, LOOK_SECONDS, time.time()),
        launches=sum(trace.launches for trace in traces),
        redone=(again, trained + again),
        looks=observer.looks,
        blind=observer.blind,
    )


def _broken(job: Row, promise: Row, observer: Observer, injector: Injector) -> Broken:
    trace = observer.trace(job["name"])
    since = float(promise["given_at"])
    ended = job["ended_at"] if job["state"] in FINAL else None
    until = float(ended or time.time())
    cause, lost = explain(injector.done, trace.gaps(since, until), since, until)
    late = None if ended is None else ended - promise["deadline"] - promise["grace"]
    if job["state"] == FORGOTTEN:
        # It was gone with what slurmctld had not saved, and ended when the daemon saw that.
        late, cause, lost = None, "slurmctld killed", 0.0
    elif late is not None and late <= 0:
        # In time, and called late by a daemon whose clock was ahead.
        cause, lost = "daemon's clock stepped", 0.0
    return Broken(job["name"], late, trace.launches, cause, lost)


def _story(service: Service, job: Row) -> list[dict[str, object]]:
    """What the daemon wrote down of a job."""
    query = f"SELECT at, kind, message FROM events WHERE job_id = {int(job['id'])} ORDER BY id"
    try:
        return service.rows(query)
    except HostError:
        return []

"""Users and operators: they submit, change their minds, and ask for what is not theirs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from random import Random
from typing import Any

from ef_slurm.api.messages import (
    ActOnJob,
    Await,
    Cancel,
    ChangeJob,
    Explain,
    Failure,
    FindCurves,
    Judge,
    ListHistory,
    ListJobs,
    Ping,
    Register,
    Request,
    TrainOn,
    Withdraw,
)
from ef_slurm.api.routes import HttpRequest, write
from ef_slurm.formats.dependencies import parse_dependency
from ef_slurm.model import (
    ArrayMember,
    BatchScript,
    IfInfeasible,
    JobAction,
    JobChange,
    JobKind,
    JobRequest,
    Overhead,
    ThroughputCurve,
)
from ef_slurm.slurm.errors import SlurmError
from ef_slurm.slurm.types import Submission
from tests.fakes.memory_cluster import MemoryJob
from tests.simulation.author import RATES, USERS
from tests.simulation.faults import ViolationError
from tests.simulation.site import OPERATOR_UID, Site
from tests.simulation.story import Behaviour, Submitted
from tests.simulation.trainings import SimulatedHandover, SimulatedLive, SimulatedTraining

OVERHEAD = Overhead(start=8.0, grow=10.0, shrink=8.0, move=10.0, restart=10.0)
BOOT_SECONDS = 5.0
SAVE_SECONDS = 0.5
PATIENCE_SECONDS = 120.0
"""How long ef-sbatch tries to reach the daemon before it gives its job up."""
TYPES = {"": 1.0, "a100": 1.0, "h100": 1.5}
"""How fast GPUs of a type are."""


@dataclass
class SimulatedJob:
    """One job, as whoever looks from outside knows it.

    Args:
        number: in the story.
        registered: whether the daemon has said that it has it.
        owned: whether its owner, or an operator, has done something to it.
        blamed: whether its training misbehaved, or its script died.
        forgotten: whether Slurm was made to forget it.
        behaved: how its training ever did.
    """

    number: int
    spec: Submitted
    uid: int
    slurm: MemoryJob
    training: SimulatedTraining
    request: JobRequest
    script: BatchScript
    asked_at: float
    registered: bool = False
    given_up: bool = False
    owned: bool = False
    blamed: bool = False
    forgotten: bool = False
    behaved: frozenset[Behaviour] = frozenset()
    refusal: str = ""

    @property
    def ids(self) -> frozenset[int]:
        """Slurm's, that it was ever told of by; some may be another job's by now."""
        return frozenset({self.request.slurm_job_id, self.slurm.job_id})


@dataclass
class People:
    """Everybody who wants something of the site."""

    site: Site
    jobs: list[SimulatedJob] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.site.on_submit = self._submitted_again

    # Submitting

    def submit(self, spec: Submitted) -> None:
        """`ef-sbatch`: a held job in Slurm for each member, and then a request to the daemon."""
        made: list[SimulatedJob] = []
        for task in range(spec.members):
            job = self._submit_one(spec, task, made)
            if job is None:
                for other in made:
                    self._give_up(other)
                return
            made.append(job)
            self.jobs.append(job)
        for job in made:
            self._register(job)

    def _submit_one(
        self, spec: Submitted, task: int, made: list[SimulatedJob]
    ) -> SimulatedJob | None:
        site, uid, number = self.site, self.site.user(spec.user), len(self.jobs)
        now = site.clock.now
        script = BatchScript(f"#!/bin/bash\n# {number}\n", options=(f"--job-name=secret{number}",))
        options = script.options
        if spec.max_time is not None:
            options = (*options, f"--time={spec.max_time / 60:.0f}")
        script = BatchScript(script.text, options=options)
        try:
            got = site.slurm_of(uid).submit(Submission(script.text, options))
        except SlurmError:
            return None  # they are told, and that is that
        slurm = site.cluster.jobs[got.job_id]
        array = None
        if spec.members > 1:
            first = made[0].slurm.job_id if made else slurm.job_id
            array = ArrayMember(first, task, spec.members, 0, spec.members - 1)
        request = request_of(self, spec, slurm.job_id, uid, number, now, array)
        training = self._training(spec, slurm, number)
        training.says = (None, None) if spec.told else (spec.iterations, 64)
        training.misbehave(spec.behaviour, now)
        training.speed = 0.3 if spec.behaviour is Behaviour.SLOW else 1.0
        site.directories.by_directory[request.state_dir] = training
        job = SimulatedJob(number, spec, uid, slurm, training, request, script, now)
        job.blamed = spec.behaviour is not Behaviour.HONEST
        job.behaved = frozenset({spec.behaviour})
        return job

    def _training(self, spec: Submitted, slurm: MemoryJob, number: int) -> SimulatedTraining:
        cluster = self.site.cluster
        parts: dict[str, Any] = {
            "slurm": slurm,
            "iterations": spec.iterations,
            "rates": {},
            "boot": BOOT_SECONDS,
            "save": SAVE_SECONDS,
            "rates_by_type": {
                kind: {size: rate * speed for size, rate in RATES.items()}
                for kind, speed in TYPES.items()
            },
            "type_of": lambda node: cluster.nodes[node].gpu_type,
            "number": number,
        }
        if spec.live is None:
            return SimulatedTraining(**parts)
        kind = SimulatedHandover if spec.hands_over else SimulatedLive
        live = kind(**parts, cluster=cluster)
        live.answer_as(spec.live, self.jobs[0].slurm.job_id if self.jobs else slurm.job_id)
        return live

    def queue_was_rebuilt(self, lost: Collection[int]) -> None:
        """Whoever waits for a verdict on a job that the queue knows no more is told so, and goes.

        Args:
            lost: numbers of the jobs.
        """
        for job in (self.jobs[number] for number in lost):
            if job.registered:
                job.registered = False
                self._give_up(job)

    def retry(self) -> None:
        """Who has not reached the daemon tries again."""
        for job in self.jobs:
            if not (job.registered or job.given_up):
                self._register(job)

    def _register(self, job: SimulatedJob) -> None:
        answer = self.site.ask(job.uid, write(Register(job.request, job.script)))
        if isinstance(answer, bytes):
            job.registered = True
            self._try_to_withdraw(job)
        elif isinstance(answer, Failure):
            job.refusal = answer.message
            self._give_up(job)
        elif self.site.clock.now > job.asked_at + PATIENCE_SECONDS:
            self._give_up(job)

    def _try_to_withdraw(self, job: SimulatedJob) -> None:
        """Somebody else asks for that, as long as there is no verdict yet."""
        other = self.site.user(job.spec.user + 1)
        if other == job.uid:
            return
        if isinstance(self.site.ask(other, write(Withdraw(job.slurm.job_id))), bytes):
            raise ViolationError(f"{other} may withdraw {job.uid}'s job")

    def _give_up(self, job: SimulatedJob) -> None:
        """ef-sbatch cancels what it could not register."""
        job.given_up = job.owned = True
        if job.slurm.job_id in self.site.cluster.jobs:
            self.site.cluster.cancel(job.slurm, self.site.clock.now)

    def _submitted_again(self, asked: Submission, got: object) -> None:
        """The daemon has submitted a job anew."""
        number = int(asked.script.rpartition("#")[2])
        job = self.jobs[number]
        new = self.site.cluster.jobs[got.job_id]  # type: ignore[attr-defined]
        if self.site.cluster.jobs.get(job.slurm.job_id) is job.slurm and job.slurm.ended is None:
            raise ViolationError(f"job {job.slurm.job_id} was submitted again, and is there")
        job.slurm = job.training.slurm = new

    # Asking

    def ask(self, job: SimulatedJob, request: Request) -> None:
        """The owner of a job asks for something."""
        self.site.ask(job.uid, write(request))

    def act(self, job: SimulatedJob, action: JobAction, *, uid: int | None = None) -> None:
        """Its owner, or whoever has `uid`, asks for it."""
        asked = write(ActOnJob(job.slurm.job_id, action))
        self.site.ask(job.uid if uid is None else uid, asked)

    def change(self, job: SimulatedJob, change: JobChange) -> None:
        self.ask(job, ChangeJob(job.slurm.job_id, change))

    def train_on(self, job: SimulatedJob, gpus: int) -> None:
        self.ask(job, TrainOn(job.slurm.job_id, gpus))

    def withdraw(self, job: SimulatedJob) -> None:
        self.ask(job, Withdraw(job.slurm.job_id))

    def judge(self, spec: Submitted) -> None:
        """What would become of a job that nobody has submitted?"""
        uid = self.site.user(spec.user)
        request = request_of(self, spec, 0, uid, 0, self.site.clock.now, None)
        answer = self.site.ask(uid, write(Judge(request)))
        if isinstance(answer, bytes):
            self._check_private(uid, answer, b"")

    def look(self) -> None:
        """Everybody looks at everything."""
        uids = {self.site.user(number) for number in range(USERS)}
        for uid in sorted(uids | {OPERATOR_UID}):
            requests: list[Request] = [
                Ping(),
                ListJobs(all=True),
                ListHistory(since=0.0),
                FindCurves("model"),
            ]
            for job in self.jobs:
                requests += [Await(job.slurm.job_id), Explain(job.slurm.job_id)]
            for request in requests:
                sent = write(request)
                answer = self.site.ask(uid, sent)
                if isinstance(answer, bytes):
                    self._check_private(uid, answer, sent.target.encode())

    def _check_private(self, uid: int, answer: bytes, asked: bytes) -> None:
        """Nobody hears of others' jobs where jobs are private."""
        if not self.site.story.private or uid == OPERATOR_UID:
            return
        mine = [job for job in self.jobs if job.uid == uid]
        own = {str(number) for job in mine for number in job.ids}
        own |= {str(job.training.names) for job in mine if isinstance(job.training, SimulatedLive)}
        for job in self.jobs:
            if job.uid == uid:
                continue
            number = str(job.request.slurm_job_id)
            for secret in (number, f"secret{job.number}\\b"):
                if secret in own:
                    continue  # Slurm has used it again, or they have said it themselves
                word = secret.removesuffix("\\b").encode()
                end = answer.find(word) + len(word)
                if word in answer and not answer[end : end + 1].isdigit() and word not in asked:
                    raise ViolationError(f"{uid} hears of {job.uid}'s job {word.decode()}")

    def hostile(self, seed: int, number: int) -> None:
        """Somebody asks for what is not theirs, or sends what is no request."""
        random = Random(seed)
        uid = self.site.user(random.randrange(USERS))
        if not self.jobs or random.random() < 0.5:
            self.site.ask(uid, self._mangled(random))
            return
        victim = self.jobs[number % len(self.jobs)]
        job_id = victim.slurm.job_id
        now = self.site.daemon_clock()
        choices: list[Request] = [
            Register(victim.request, victim.script),
            ActOnJob(job_id, random.choice(tuple(JobAction))),
            ChangeJob(job_id, JobChange(deadline=now + random.uniform(-100.0, 1e9))),
            ChangeJob(job_id, JobChange(best_effort=True)),
            TrainOn(job_id, random.choice((0, 1, 3, 10**9))),
            Withdraw(job_id),
            Cancel((job_id, 1, 10**9)),
        ]
        asked = random.choice(choices)
        if self.site.is_ticking and isinstance(asked, ActOnJob | ChangeJob):
            return  # that waits until the scheduler's thread has time
        answer = self.site.ask(uid, write(asked))
        if uid != victim.uid and isinstance(answer, bytes) and not isinstance(asked, Cancel):
            raise ViolationError(f"{uid} may do {type(asked).__name__} with {victim.uid}'s job")
        if uid == victim.uid:
            victim.owned = True

    def _mangled(self, random: Random) -> HttpRequest:
        """A request that is not quite one."""
        spec = Submitted(iterations=random.choice((0, -1, 10**18, 1000)), deadline=100.0)
        requests: list[Request] = [Ping(), ListJobs(), Await(1), Cancel((1,))]
        if self.jobs:
            job = random.choice(self.jobs)
            requests.append(Register(job.request, job.script))
            requests.append(Explain(job.slurm.job_id))
        sent = write(random.choice(requests))
        body = bytearray(sent.body)
        for _ in range(random.randrange(1, 4)):
            if body:
                at = random.randrange(len(body))
                body[at : at + random.randrange(4)] = random.choice(
                    (b"", b"1e999", b"null", b'"', b"\xff", b"-1", b"{}", b"NaN")
                )
        target = sent.target
        if random.random() < 0.3:
            target = random.choice((target + "?x=1", target[:-1], "/v1/jobs/0", "/v9/jobs", ""))
        assert spec.deadline
        method = random.choice((sent.method, sent.method, "POST", "BREW"))
        return HttpRequest(method, target, bytes(body))


def request_of(
    people: People,
    spec: Submitted,
    slurm_job_id: int,
    uid: int,
    number: int,
    now: float,
    array: ArrayMember | None,
) -> JobRequest:
    """What ef-sbatch asks the daemon for."""
    kind = JobKind.DEADLINE
    if spec.deadline is None:
        kind = JobKind.BEST_EFFORT
    elif spec.grace:
        kind = JobKind.SOFT_DEADLINE
    types = ("a100", "h100") if people.site.story.types > 1 else ("",)
    curves = tuple(
        (
            kind_of or "gpu",
            ThroughputCurve.of({n: rate * TYPES[kind_of] for n, rate in RATES.items()}),
        )
        for kind_of in types
    )
    after = ""
    if spec.after is not None and spec.after < len(people.jobs):
        before = people.jobs[spec.after]
        if before.uid == uid:
            after = f"afterany:{before.slurm.job_id}"
    return JobRequest(
        slurm_job_id=slurm_job_id,
        owner=str(uid),
        uid=uid,
        name=f"secret{number}",
        submitted=now,
        kind=kind,
        iterations=spec.iterations if spec.told else None,
        global_batch_size=64 if spec.told else None,
        curves=curves if spec.known else (),
        state_dir=f"/shared/{uid}/{number}",
        deadline=None if spec.deadline is None else now + spec.deadline,
        grace=spec.grace,
        if_infeasible=IfInfeasible.WAIT if spec.waits else IfInfeasible.REJECT,
        overhead=OVERHEAD,
        max_time=spec.max_time,
        begin=None if spec.begin is None else now + spec.begin,
        dependency=parse_dependency(after),
        array=array,
        partition="ef",
    )

"""Messages to send, and credentials without munged."""

from __future__ import annotations

import base64
import itertools

from ef_slurm.api.messages import Judged
from ef_slurm.api.munge import Identity, MungeError, MungeProblem
from ef_slurm.model import (
    BatchScript,
    IfInfeasible,
    JobKind,
    JobRequest,
    OtherJob,
    Outcome,
    Overhead,
    Reason,
    ReasonCode,
    ThroughputCurve,
    Verdict,
)

REQUEST = JobRequest(
    slurm_job_id=7,
    owner="user1",
    uid=3001,
    name="trän",
    submitted=100.5,
    kind=JobKind.SOFT_DEADLINE,
    iterations=1000,
    global_batch_size=64,
    curves=(("a100", ThroughputCurve.of({1: 2.0, 2: 3.5})),),
    state_dir="/shared/x",
    deadline=5000.0,
    grace=10.0,
    if_infeasible=IfInfeasible.WAIT,
    overhead=Overhead.constant(5.0),
)
SCRIPT = BatchScript("#!/bin/sh\ntrue\n", options=("--account=a b",))
JUDGED = Judged(
    Verdict("0000000001", Outcome.REJECTED, Reason(ReasonCode.REJECTED, until=float("inf"))),
    (),
    "no",
    (OtherJob(1, 7, "user1"),),
)


class FakeMunge:
    """Credentials that anybody could make; each is good once, as for munged.

    Args:
        uid: who makes them.
    """

    def __init__(self, uid: int = 3001) -> None:
        self.uid = uid
        self.decoded: set[str] = set()
        self.problem: MungeProblem | None = None
        self._numbers = itertools.count()

    def encode(self, payload: str) -> str:
        text = f"{self.uid} {id(self)}-{next(self._numbers)} {payload}"
        return f"MUNGE:{base64.b64encode(text.encode()).decode()}:"

    def decode(self, credential: str) -> Identity:
        if self.problem is not None:
            raise MungeError(self.problem, f"unmunge: {self.problem.value}")
        if credential in self.decoded:
            raise MungeError(MungeProblem.REPLAYED, "unmunge: Replayed credential")
        try:
            text = base64.b64decode(credential.removeprefix("MUNGE:").removesuffix(":")).decode()
            uid, _, payload = text.split(" ", 2)
            found = Identity(int(uid), int(uid), payload)
        except ValueError:
            raise MungeError(MungeProblem.INVALID, "unmunge: Invalid credential") from None
        self.decoded.add(credential)
        return found

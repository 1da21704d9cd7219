"""The users of the campaign: a steady stream of short jobs, most with a deadline."""

from __future__ import annotations

import enum
import json
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.campaign.hosts import HostError, Hosts

RATES = "1:10,2:18,4:32,8:56,16:90"
"""Iterations/s by GPUs."""
REAL_RATES = "4:2,8:4"
"""The same of trainings with ranks, of whole nodes: so few that two cores bear them."""
AT_ONCE = 4
TRACES = "/var/log/minislurm"
"""Where trainings write their lives down, as the hosts see it: no fault reaches it."""


class Training(enum.Enum):
    """How a job of the campaign trains; the values are what the report calls it."""

    PACED = "cannot change while it runs"  # `trainer`, which speaks the contract itself
    HANDS_OVER = "grows by hand-over"  # `elastic` with DDP
    LIVE = "grows with its ranks"  # `elastic` with training.parallel


@dataclass(frozen=True)
class Submission:
    """What a user sent, and what came back.

    Args:
        job_id: Slurm's; 0 where no answer told it.
        answer: ef-sbatch's words where it told none.
    """

    name: str
    user: str
    words: str
    training: Training
    at: float
    job_id: int = 0
    answer: str = ""


def training_of(number: int) -> Training:
    """Every third job changes its size while it runs, three of four of these by hand-overs."""
    if number % 3 != 1:
        return Training.PACED
    return Training.LIVE if number % 4 == 0 else Training.HANDS_OVER


class Stream:
    """Submits until it is told to end.

    Args:
        checkout: ef-slurm's source, as the hosts see it.
        every: seconds from one job to the next, on average.
        most: jobs that may be in the queue at once.
        active: how many are.
    """

    def __init__(
        self,
        hosts: Hosts,
        checkout: str,
        *,
        every: float,
        most: int,
        active: Callable[[], int],
        tell: Callable[[str, object], None],
        seed: int,
    ) -> None:
        self.hosts = hosts
        self.checkout = checkout
        self.every = every
        self.most = most
        self.active = active
        self.tell = tell
        self.dice = random.Random(seed)
        self.sent: list[Submission] = []
        self._under_way = 0
        self._lock = threading.Lock()

    def run(self, over: threading.Event) -> None:
        """Submit until `over` is set; returns when every answer is there."""
        number = 0
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while not over.wait(self.every * self.dice.uniform(0.5, 1.5)):
                if self._under_way >= AT_ONCE or self.active() + self._under_way >= self.most:
                    continue
                number += 1
                with self._lock:
                    self._under_way += 1
                pool.submit(self._one, *self._job(number))

    def _job(self, number: int) -> tuple[str, str, str, Training]:
        name, user = f"c{number}", f"user{number % 2 + 1}"
        training = training_of(number)
        # So few that nodes are free at times, for others to grow onto.
        iterations = self.dice.randrange(300, 1200)
        seconds = self.dice.randrange(150, 600)
        gpus = self.dice.choice((2, 4, 4, 8))
        wish = f"--deadline=+{seconds}s --if-infeasible=wait"
        if number % 6 in (0, 1):
            wish = "--best-effort"
        rates, log, script = RATES, "/dev/null", "python3 -m tests.campaign.trainer"
        if training is not Training.PACED:
            wrapper = "parallel" if training is Training.LIVE else "ddp"
            # Those without a deadline stay for long: they grow whenever others leave nodes free.
            iterations, gpus, rates = 600 if number % 6 == 1 else iterations // 4, 8, REAL_RATES
            log = f"{TRACES}/campaign-{name}.log"
            script = (
                f"--checkpoint-interval=5s {self.checkout}/tests/campaign/elastic.py"
                f" --wrapper {wrapper}"
            )
        words = (
            f"ef-sbatch --json --job-name={name} --iterations={iterations} --global-batch-size=32"
            f" --throughput={rates} {wish} --max-gpus={gpus} --verdict-timeout=40"
            f" --output={log} {script} --rates {rates} --trace {TRACES}/campaign-{name}.trace"
        )
        return name, user, words, training

    def _one(self, name: str, user: str, words: str, training: Training) -> None:
        at = time.time()
        job_id, said = self._submit(user, words)
        sent = Submission(name, user, words, training, at, job_id, said)
        with self._lock:
            self.sent.append(sent)
            self._under_way -= 1
        self.tell("job", sent)

    def _submit(self, user: str, words: str) -> tuple[int, str]:
        """The job's id as soon as the daemon has it, as a patient user gets it."""
        deadline = time.monotonic() + 300
        command = words
        job_id = 0
        said = ""
        while time.monotonic() < deadline:
            try:
                said = self.hosts.run(
                    "login", f"{command} 2>&1", user=user, check=False, timeout=120
                )
                answer, _ = json.JSONDecoder().raw_decode(said, said.index("{"))
            except (HostError, ValueError) as problem:
                if not job_id:
                    return 0, f"{said} {problem}"[-500:]
                time.sleep(5)
                continue
            job_id = int(answer.get("job_id") or job_id)
            if not job_id:
                return 0, said[-500:]
            if answer.get("registered", True):
                return job_id, ""
            command = f"ef-sbatch --json --register={answer['state_dir']}"
            time.sleep(5)
        return job_id, f"not registered: {said}"[-500:]

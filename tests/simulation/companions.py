"""What befalls companions: their owners and nodes, each at its moment in a companion's life."""

from __future__ import annotations

from ef_slurm.slurm.types import HoldKind, JobBaseState
from tests.fakes.memory_cluster import MemoryJob
from tests.simulation.people import People, SimulatedJob
from tests.simulation.site import Site
from tests.simulation.story import Befalls, Stage
from tests.simulation.trainings import SimulatedLive, lives_in_slurm


class Fates:
    """Waits for companions to come to where something is to befall them."""

    def __init__(self, site: Site, people: People) -> None:
        self._site = site
        self._people = people
        self._waiting: list[tuple[Stage, Befalls]] = []

    def expect(self, stage: Stage, what: Befalls) -> None:
        """It befalls the first companion that is there from now on."""
        self._waiting.append((stage, what))

    def advance(self) -> None:
        """Let happen what is due."""
        for job in self._people.jobs if self._waiting else ():
            training = job.training
            if not isinstance(training, SimulatedLive):
                continue
            for companion in tuple(training.companions.values()):
                if lives_in_slurm(companion, self._site.cluster):
                    self._befall(job, companion, _stage(training, companion))

    def _befall(self, job: SimulatedJob, companion: MemoryJob, stage: Stage) -> None:
        cluster, now = self._site.cluster, self._site.clock.now
        due = next((one for one in self._waiting if one[0] is stage), None)
        if due is None:
            return
        self._waiting.remove(due)
        what = due[1]
        job.owned |= what not in (Befalls.NODE_DIES, Befalls.FORGOTTEN)
        match what:
            case Befalls.NODE_DIES if companion.nodes:
                cluster.kill_node(companion.nodes[-1], now)
            case Befalls.FORGOTTEN if companion.state is JobBaseState.PENDING:
                cluster.jobs.pop(companion.job_id).state = JobBaseState.CANCELLED
            case Befalls.CANCELLED:
                cluster.cancel(companion, now)
            case Befalls.HELD if companion.state is JobBaseState.PENDING:
                companion.hold = HoldKind.USER
            case Befalls.RELEASED if companion.hold is HoldKind.USER:
                companion.hold, companion.released = HoldKind.NONE, now
            case Befalls.RENAMED:
                companion.comment = "mine"


def _stage(training: SimulatedLive, companion: MemoryJob) -> Stage:
    if companion.state is JobBaseState.RUNNING:
        joined = set(companion.nodes) <= set(training.train)
        return Stage.TRAINS if joined else Stage.RUNS
    return Stage.WAITS if companion.hold is HoldKind.NONE else Stage.SUBMITTED

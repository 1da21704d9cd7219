"""The site's limits are read now and then, and go on to count where accounting is silent."""

from __future__ import annotations

from collections.abc import Collection

from ef_slurm.daemon.observe.site_limits import REREAD_SECONDS, SiteLimitsReader
from ef_slurm.slurm.accounting_types import Accounting, LimitSet, SlurmQos
from ef_slurm.slurm.errors import SlurmTimeoutError
from ef_slurm.slurm.limits import Asker
from tests.fakes.memory_cluster import MemoryCluster
from tests.fakes.memory_slurm import MemorySlurm

SMALL = Accounting((SlurmQos("normal", LimitSet(per_job={"gres/gpu": 2.0})),))


class Counting(MemorySlurm):
    """Counts how often accounting is asked, and about whom; it can be silent."""

    silent = False

    def accounting(self, users: Collection[str]) -> Accounting:
        self.asked = [*getattr(self, "asked", []), frozenset(users)]
        if self.silent:
            raise SlurmTimeoutError("sacctmgr gave no answer within 10 s")
        return super().accounting(users)


def test_limits_are_read_once_for_a_while_and_at_once_for_a_newcomer() -> None:
    cluster, now = MemoryCluster({"n1": 4}), [1000.0]
    cluster.accounting = SMALL
    slurm = Counting(cluster, lambda: now[0])
    reader = SiteLimitsReader(slurm, lambda: now[0])
    for _ in range(3):
        limits = reader.limits({"ann"})
    assert limits.of(Asker("ann", partition="ef")).bounds[0].amount == 2
    reader.limits({"bob"})
    reader.limits({"ann"})
    assert slurm.asked == [{"ann"}, {"ann", "bob"}]
    now[0] += REREAD_SECONDS
    cluster.accounting = Accounting()
    assert not reader.limits({"ann"}).of(Asker("ann", partition="ef")).bounds
    assert slurm.asked[2:] == [{"ann"}]
    now[0] -= 2 * REREAD_SECONDS  # the clock is set back
    reader.limits({"ann"})
    assert len(slurm.asked) == 4


def test_silent_accounting_costs_one_question_and_what_it_said_counts() -> None:
    cluster, now = MemoryCluster({"n1": 4}), [1000.0]
    cluster.accounting = SMALL
    slurm = Counting(cluster, lambda: now[0])
    reader = SiteLimitsReader(slurm, lambda: now[0])
    reader.limits({"ann"})
    slurm.silent = True
    now[0] += REREAD_SECONDS
    for _ in range(5):
        assert reader.limits({"ann"}).of(Asker("ann", partition="ef")).bounds
    assert len(slurm.asked) == 2

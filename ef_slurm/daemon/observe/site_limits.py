"""The limits that Slurm keeps: of partitions, of accounting, of licences. Read now and then.

An operator changes them rarely, and they are many: what was read counts for some minutes. Where
accounting does not answer, what it said last goes on to count.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from ef_slurm.slurm.accounting_types import Accounting
from ef_slurm.slurm.errors import SlurmError
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.limits import Asker, JobLimits, limits_of
from ef_slurm.slurm.site_types import SlurmLicense, SlurmPartition

REREAD_SECONDS = 300.0
"""Seconds for which the site's limits are believed."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SiteLimits:
    """What was read.

    Args:
        users: that accounting was asked about.
    """

    accounting: Accounting = field(default_factory=Accounting)
    partitions: tuple[SlurmPartition, ...] = ()
    licenses: tuple[SlurmLicense, ...] = ()
    users: frozenset[str] = frozenset()
    _known: dict[Asker, JobLimits] = field(default_factory=dict, compare=False)

    def of(self, asker: Asker) -> JobLimits:
        """What counts for a job."""
        known = self._known.get(asker)
        if known is None:
            named = (one for one in self.partitions if one.name == asker.partition)
            known = limits_of(asker, self.accounting, next(named, None))
            self._known[asker] = known
        return known


class SiteLimitsReader:
    """Reads the site's limits, and keeps them for a while."""

    def __init__(self, slurm: Slurm, clock: Callable[[], float]) -> None:
        self._slurm = slurm
        self._clock = clock
        self._limits = SiteLimits()
        self._read_at = -math.inf
        self._silent = False

    def limits(self, users: Collection[str]) -> SiteLimits:
        """The limits, as far as these users' jobs are concerned."""
        now = self._clock()
        stale = not 0 <= now - self._read_at < REREAD_SECONDS
        if stale or not self._limits.users.issuperset(users):
            # Whoever was asked about and has no job now may have one again soon.
            wanted = frozenset(users) | (frozenset() if stale else self._limits.users)
            self._read_at = now
            self._limits = self._read(wanted)
        return self._limits

    def _read(self, users: Iterable[str]) -> SiteLimits:
        names = frozenset(users)
        accounting, partitions = self._limits.accounting, self._limits.partitions
        licenses = self._limits.licenses
        try:
            partitions = self._slurm.partitions()
            licenses = self._slurm.licenses()
            accounting = self._slurm.accounting(names)
        except SlurmError as error:
            if not self._silent:
                _log.warning("limits of the site cannot be read: %s", error.message)
            self._silent = True
        else:
            self._silent = False
        return SiteLimits(accounting, partitions, licenses, names)

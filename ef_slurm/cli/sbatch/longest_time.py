"""The longest time limit that a submission may ask Slurm for."""

from __future__ import annotations

import getpass
from contextlib import suppress

from ef_slurm.cli.common.errors import CommandError, ExitCode
from ef_slurm.cli.sbatch.submission_options import SubmissionOptions
from ef_slurm.siteconfig.tables import SiteConfig
from ef_slurm.slurm.accounting_types import Accounting
from ef_slurm.slurm.errors import SlurmError
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.limits import Asker, limits_of


def longest_time(requested: SubmissionOptions, site: SiteConfig, slurm: Slurm) -> float:
    """Seconds of the partition's limit, or of accounting's (MaxWall); `inf` for none.

    Raises:
        CommandError: Slurm has no such partition.
    """
    for partition in slurm.partitions():
        if partition.name != site.slurm.partition:
            continue
        user = getpass.getuser()
        asker = Asker(user, requested.account or "", requested.qos or "", partition.name)
        accounting = Accounting()
        with suppress(SlurmError):  # else Slurm itself says what it is too long for
            accounting = slurm.accounting([user])
        return limits_of(asker, accounting, partition).longest
    raise CommandError(
        f"Slurm has no partition {site.slurm.partition!r}, which the configuration names "
        f"({site.path}: slurm.partition)",
        ExitCode.USAGE,
    )

"""Sentences for configurations that serve nobody; each names the line to change."""

from __future__ import annotations

from ef_slurm.siteconfig.load import SYSTEM
from ef_slurm.siteconfig.tables import SiteConfig

SETUP = "`ef-schedd setup --service` does that and all the rest"


def serves_itself(config: SiteConfig) -> str:
    """A service's daemon that serves nobody else."""
    return (
        f'{config.path}: daemon.serves: is "me", so a daemon of {config.daemon.user!r}, the '
        f'service\'s user, would serve itself alone: write serves = "everyone" under [daemon]; '
        f"{SETUP}"
    )


def somebody_elses_partition(config: SiteConfig) -> str:
    """A person's own daemon in the partition of a service."""
    return (
        f'{config.path}: daemon.serves: is "me", and the partition {config.slurm.partition!r} is '
        "guarded for a site's ef-slurm (job_submit.lua): there a daemon of one's own promises, and "
        "Slurm lets it start nothing. Use the site's service (its file is "
        f'{SYSTEM}, with serves = "everyone"), or name an ordinary partition: under [slurm] write '
        'partition = "NAME"'
    )


def nobody_runs(config: SiteConfig) -> str:
    """A person's own queue that no daemon of theirs looks after."""
    return (
        f'no ef-schedd of yours is running ({config.path} says serves = "me": each runs their '
        "own): start it with `ef-schedd run`; for a service for everybody, an administrator runs "
        "`ef-schedd setup --service`"
    )

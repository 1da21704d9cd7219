"""`ef-schedd check`, what outlives the queue: which daemon acts, and whether it keeps records."""

from __future__ import annotations

from collections.abc import Iterator

from ef_slurm.daemon.findings import Finding, Level
from ef_slurm.daemon.observe.claim import Claim, ClaimFile
from ef_slurm.daemon.observe.record_files import ACTIVE_NAME, TOP
from ef_slurm.siteconfig.accounts import Account
from ef_slurm.siteconfig.tables import SiteConfig


def check_records(config: SiteConfig, user: Account, host: str) -> Iterator[Finding]:
    """What the daemon keeps beside the orders, which nobody but its user can read.

    Args:
        user: who runs the check.
        host: the name of this one.
    """
    root, subject = config.order_root, "acting daemon"
    try:
        if root.stat().st_uid != user.uid:
            yield Finding(
                Level.OK,
                subject,
                f"not looked at: {root} is read by {config.daemon.user} alone "
                f"(sudo -u {config.daemon.user} ef-schedd check)",
            )
            return
        claim = ClaimFile(root).read()
    except FileNotFoundError:  # `check_order_root` says it
        return
    except OSError as error:
        yield Finding(
            Level.ERROR,
            subject,
            f"{error}: a daemon does nothing as long as it cannot read whether another one acts",
        )
        return
    if claim is None:
        yield Finding(Level.OK, subject, "none has acted yet")
        return
    yield _acting(config, claim, host)
    kept = root / TOP / ACTIVE_NAME
    try:
        count = sum(1 for path in kept.iterdir() if path.suffix == ".json")
    except FileNotFoundError:  # made with the first
        count = 0
    except OSError as error:
        yield Finding(Level.WARNING, "records", f"{error}: promises would be lost with the queue")
        return
    yield Finding(Level.OK, "records", f"{kept}: of {count} jobs")


def _acting(config: SiteConfig, claim: Claim, host: str) -> Finding:
    subject, who = "acting daemon", f"{claim.words}, term {claim.term}"
    if (claim.host, claim.path) == (host, str(config.queue.path)):
        return Finding(Level.OK, subject, who)
    return Finding(
        Level.WARNING,
        subject,
        f"{who}, not that of {host} and {config.queue.path}: one that is started here ends at "
        "once, unless it has taken over (ef-schedd takeover)",
    )

"""From remembered rates to the curves that a submission is promised on. Pure.

A user's own measurements count before their account's, and those before what several owners at the
site agree on: nobody's numbers alone decide for people of another account. Levels are not mixed:
rates of one curve come from the same surroundings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ef_slurm.model import KnownCurve, MeasuredRate, ModelError, NodeGroup, ProfileLevel
from ef_slurm.profiling.freshness import AGREEMENT, believed, is_old
from ef_slurm.profiling.measuring import believe

AGREEING_OWNERS = 2
"""How many must agree before their rate counts for everybody."""


@dataclass(frozen=True, slots=True)
class KnownRates:
    """What is known of one key, at the first level at which anything is.

    Args:
        level: whose it is.
        rates: GPUs → iterations/s.
        last: when the latest was measured, UTC epoch seconds.
    """

    level: ProfileLevel
    rates: Mapping[int, float]
    last: float


def known_rates(
    measured: Iterable[MeasuredRate], owner: str, accounts: Collection[str], now: float
) -> KnownRates | None:
    """What one user may count on, or None where nothing is known.

    Args:
        measured: rates of one key, by anybody.
        owner: the user.
        accounts: those that the user is known to belong to.
        now: UTC epoch seconds; what is stale then counts as `freshness` says.
    """
    # What was imported was seen by nobody but who says so.
    all_rates = [one for one in measured if one.owner == owner or one.job_id is not None]
    own = [one for one in all_rates if one.owner == owner]
    of_account = [one for one in all_rates if one.account and one.account in accounts]
    for level, rates in ((ProfileLevel.OWN, own), (ProfileLevel.ACCOUNT, of_account)):
        counting = believed(rates, now)
        if counting:
            return KnownRates(level, counting, max(one.at for one in rates))
    all_rates = [one for one in all_rates if not is_old(one, now)]
    agreed = {}
    for gpus in {one.gpus for one in all_rates}:
        group = _agreeing([one for one in all_rates if one.gpus == gpus])
        if len({one.owner for one in group}) >= AGREEING_OWNERS:
            agreed[gpus] = group
    if not agreed:
        return None
    # The slowest of those that agree: nobody is promised more than all of them saw.
    slowest = {gpus: min(one.rate for one in group) for gpus, group in sorted(agreed.items())}
    last = max(one.at for group in agreed.values() for one in group)
    return KnownRates(ProfileLevel.SITE, slowest, last)


def known_curve(
    measured: Iterable[MeasuredRate],
    owner: str,
    accounts: Collection[str],
    group: NodeGroup,
    now: float,
) -> KnownCurve | None:
    """The curves of one key on one GPU type, or None where nothing is known.

    Args:
        measured: rates of the key, by anybody.
        owner, accounts, now: as `known_rates` takes them.
        group: the nodes of that GPU type.
    """
    known = known_rates(measured, owner, accounts, now)
    if known is None:
        return None
    gpus = group.gpus_per_node * len(group.nodes)
    sizes = [1 << power for power in range(gpus.bit_length())]
    try:
        belief = believe(known.rates, sizes, group.gpus_per_node)
    except (ModelError, RuntimeError):
        return None  # no model fits rates that are so far from one another: they tell nothing
    points = tuple(sorted(known.rates.items()))
    return KnownCurve(
        group.gpu_type, belief.promised, belief.expected, points, known.level, known.last
    )


def _agreeing(measured: Collection[MeasuredRate]) -> list[MeasuredRate]:
    """The most owners' rates that are within `AGREEMENT` of one another; of equals the slowest."""
    best: list[MeasuredRate] = []
    for lowest in sorted(measured, key=lambda one: one.rate):
        group = [
            one for one in measured if lowest.rate <= one.rate <= lowest.rate * (1 + AGREEMENT)
        ]
        if len({one.owner for one in group}) > len({one.owner for one in best}):
            best = group
    return best

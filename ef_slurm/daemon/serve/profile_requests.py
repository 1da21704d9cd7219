"""Answers about the profile library: everybody reads and writes their own part of it."""

from __future__ import annotations

import time
from dataclasses import replace

from ef_slurm.api.identity import Caller
from ef_slurm.api.messages import (
    MOST_RATES,
    AddRates,
    DeleteRates,
    FindCurves,
    KnownCurves,
    ListRates,
    Rates,
    RatesChanged,
)
from ef_slurm.daemon.observe.reserved import is_inside
from ef_slurm.model import Cluster, KnownCurve, ModelError, ProfileKey
from ef_slurm.profiling.library import known_curve
from ef_slurm.queue.store import Queue


def find_curves(
    queue: Queue, caller: Caller, request: FindCurves, cluster: Cluster, now: float
) -> KnownCurves:
    """What the caller may count on, for every GPU type of the cluster of which it is known.

    Raises:
        ModelError: names or numbers that no key has.
    """
    told = queue.jobs.last_told(caller.uid, request.model_name, request.precision)
    iterations = None if told is None else told.script_iterations
    said = None if told is None else told.script_global_batch_size
    batch = said if request.global_batch_size is None else request.global_batch_size
    if batch is None:
        return KnownCurves((), iterations, said)
    owner, training = (caller.uid, caller.name), (request.model_name, batch, request.precision)
    curves = curves_for(queue, owner, training, cluster, now)
    return KnownCurves(curves, iterations, said)


def curves_for(
    queue: Queue,
    owner: tuple[int, str],
    training: tuple[str, int, str],
    cluster: Cluster,
    now: float,
) -> tuple[KnownCurve, ...]:
    """What somebody may count on, for every GPU type of the cluster of which it is known.

    Args:
        owner: uid and name.
        training: model, global batch size and precision.

    Raises:
        ModelError: names or numbers that no key has.
    """
    uid, name = owner
    accounts = queue.profiles.accounts_of(uid)
    curves = []
    for group in (one for one in cluster.groups if not is_inside(one.gpu_type)):
        key = ProfileKey(*training, group.gpu_type)
        rates = queue.profiles.rates_for(key, name, accounts)
        curve = known_curve(rates, name, accounts, group, now)
        if curve is not None:
            curves.append(curve)
    return tuple(curves)


def list_rates(queue: Queue, caller: Caller, request: ListRates) -> Rates:
    """The caller's own rates."""
    return Rates(
        queue.profiles.list(
            caller.name,
            model_name=request.model_name,
            global_batch_size=request.global_batch_size,
            precision=request.precision,
            gpu_type=request.gpu_type,
        )
    )


def add_rates(queue: Queue, caller: Caller, request: AddRates) -> RatesChanged:
    """Take in rates that were measured elsewhere, for the caller alone.

    Raises:
        ModelError: too many at once.
    """
    if len(request.rates) > MOST_RATES:
        raise ModelError("rates", len(request.rates), f"{MOST_RATES} at most")
    now = time.time()
    with queue.transaction():
        for rate in request.rates:
            # Whose they are is the kernel's or munged's word, and nobody here has seen the job.
            # One of the future would never be forgotten.
            at = min(rate.at, now)
            own = replace(rate, owner=caller.name, account="", job_id=None, at=at)
            queue.profiles.add(own)
    return RatesChanged(len(request.rates))


def delete_rates(queue: Queue, caller: Caller, request: DeleteRates) -> RatesChanged:
    """Forget rates of the caller."""
    return RatesChanged(
        queue.profiles.delete(
            caller.name,
            model_name=request.model_name,
            global_batch_size=request.global_batch_size,
            precision=request.precision,
            gpu_type=request.gpu_type,
        )
    )

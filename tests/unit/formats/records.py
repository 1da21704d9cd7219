"""Strategies for any record of the model, made from its type hints as the codec is."""

import enum
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from ef_slurm.model import (
    Block,
    JobRequest,
    Limit,
    MeasuredRate,
    Overhead,
    PerGpu,
    ProfileKey,
    Reservation,
    ThroughputCurve,
)

SHARES = st.sampled_from([1, 2, 4, 8])
FLOATS = st.floats(allow_nan=False)
SECONDS = st.floats(0, 1e12)
TEXTS = st.text(max_size=5) | st.sampled_from(["null", "inf", "-inf", "nan", "true", "1"])

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | SECONDS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)

# What the model itself asks of its values.
OWN: dict[Any, st.SearchStrategy[Any]] = {
    ThroughputCurve: st.dictionaries(SHARES, st.floats(1e-3, 1e6), min_size=1).map(
        ThroughputCurve.of
    ),
    Reservation: st.builds(
        lambda start, long, gpus, block: Reservation(
            start, start + long, gpus, "gpu", gpus * block
        ),
        st.floats(-1e9, 1e9),
        st.floats(1, 1e9) | st.just(float("inf")),
        SHARES,
        st.integers(0, 9),
    ),
    Block: st.builds(
        lambda nodes, gpus: Block("gpu", tuple(f"n{i}" for i in range(nodes)), gpus), SHARES, SHARES
    ),
    Overhead: st.builds(Overhead, SECONDS, SECONDS, SECONDS, SECONDS),
    PerGpu: st.builds(PerGpu, SECONDS, SECONDS),
    Limit: st.builds(Limit, st.integers(0, 99), st.none() | TEXTS, st.none() | TEXTS),
    str: TEXTS,
    int: st.integers(-(2**63), 2**63 - 1),
    float: FLOATS,
    bool: st.booleans(),
    Any: JSON,
    type(None): st.none(),
}

NAMES = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=5)
OWN[ProfileKey] = st.builds(ProfileKey, NAMES, st.integers(1, 2**62), NAMES, NAMES)
OWN[MeasuredRate] = st.builds(
    MeasuredRate,
    OWN[ProfileKey],
    SHARES,
    st.just(1),
    st.floats(1e-3, 1e6),
    SECONDS,
    TEXTS,
    TEXTS,
    SECONDS,
    TEXTS,
    st.none() | st.integers(1, 2**31),
    NAMES | st.just(""),
    NAMES | st.just(""),
)
OWN_FIELDS: dict[tuple[Any, str], st.SearchStrategy[Any]] = {
    (JobRequest, "model_name"): NAMES | st.just(""),
    (JobRequest, "precision"): NAMES,
    (JobRequest, "iterations"): st.none() | st.integers(1, 2**62),
    (JobRequest, "global_batch_size"): st.none() | st.integers(1, 2**62),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a type, whole records included."""
    if hint in OWN:
        return OWN[hint]
    origin, items = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return st.one_of([values(choice) for choice in items])
    if origin is tuple and items[-1] is ...:
        return st.lists(values(items[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values, items))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return st.dictionaries(TEXTS, values(items[1]), max_size=3)
    if issubclass(hint, enum.Enum):
        return st.sampled_from(list(hint))
    assert is_dataclass(hint) or hasattr(hint, "_fields"), hint
    names = [f.name for f in fields(hint)] if is_dataclass(hint) else hint._fields
    hints = get_type_hints(hint)
    own = {name: OWN_FIELDS[hint, name] for name in names if (hint, name) in OWN_FIELDS}
    others = {name: values(hints[name]) for name in names if name not in own}
    return st.builds(hint, **own, **others)

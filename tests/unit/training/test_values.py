"""Every kind of value that training states are made of comes back as it was, and shares nothing."""

import argparse
import array
import collections
import contextlib
import dataclasses
import datetime
import decimal
import enum
import fractions
import io
import pathlib
import random
import types
import typing
import uuid
import warnings
import zoneinfo
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ef_slurm.training import container
from ef_slurm.training.values import Frozen, StateError, check, freeze, thaw


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"


class Level(enum.IntEnum):
    LOW = 1


class Mode(enum.Flag):
    A = 1
    B = 2


class Word(str, enum.Enum):  # noqa: UP042 - as one wrote it before StrEnum
    ONE = "one"


Point = collections.namedtuple("Point", "x y")


class Pair(typing.NamedTuple):
    left: Any
    right: int = 3


@dataclasses.dataclass
class Plain:
    counts: Any
    name: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Frosty:
    value: Any


@dataclasses.dataclass
class Careful:
    number: int
    derived: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("negative")
        self.derived = self.number * 2


def again(value: Any) -> Any:
    """Through a file and back."""
    file = io.BytesIO()
    container.write(file, freeze(value, lambda _, tensor: tensor.clone(), "state"))
    file.seek(0)
    return thaw(container.read(file, "state"))


def quiet(make: Callable[[], torch.Tensor]) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "in beta", "deprecated"
        return make()


def careful() -> Careful:
    value = Careful(3)
    value.number = -1
    return value


PLAIN: dict[str, Any] = {
    "none": None,
    "bools": [True, False],
    "whole numbers": [0, -1, 2**63 - 1, -(2**63), 2**63, -(10**400)],
    "numbers": [0.1, -0.0, 1e308, 5e-324, float("inf"), float("-inf"), 1 + 2j],
    "texts": ["", "ü", "\udc80", '"\\\n\0', "is"],
    "bytes": [b"", b"\0\xff", bytearray(b"abc")],
    "nested": {"a": [1, (2, [3, {"b": {4, 5}}]), frozenset({"c"})], "is": "dict", "id": 7},
    "keys": {1: "a", (1, "b"): "b", None: "c", 2.5: "d", True + 2: "e", Colour.RED: "f", b"x": 1},
    "deque": collections.deque([1, [2]], maxlen=5),
    "endless deque": collections.deque([1]),
    "ordered": collections.OrderedDict([("b", 1), ("a", 2)]),
    "default": collections.defaultdict(list, {"a": [1]}),
    "no default": collections.defaultdict(None, {"a": 1}),
    "counter": collections.Counter("abba"),
    "enums": [Colour.GREEN, Level.LOW, Mode.A | Mode.B, Word.ONE],
    "named tuples": [Point(1, [2]), Pair({"a": 1})],
    "dataclasses": [Plain([1], "x"), Frosty(Frosty(None))],
    "dates": [
        datetime.datetime(2026, 10, 25, 2, 30, 0, 17, fold=1),
        datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        datetime.date(1, 1, 1),
        datetime.time(1, 2, 3, tzinfo=datetime.timezone(datetime.timedelta(hours=2), "X")),
        datetime.timedelta(-1, 5, 7),
        datetime.timezone(datetime.timedelta(seconds=-90)),
    ],
    "paths": [pathlib.Path("/a/b"), pathlib.PurePosixPath("x"), pathlib.PureWindowsPath("c:\\d")],
    "exact numbers": [decimal.Decimal("1.10"), fractions.Fraction(1, 3), decimal.Decimal("NaN")],
    "identifiers": [uuid.UUID(int=5)],
    "ranges": [range(1, 9, 2), slice(None, 3), slice(1, 2, -1)],
    "namespaces": [types.SimpleNamespace(a=[1]), argparse.Namespace(lr=0.1)],
    "machine array": array.array("d", [1.0, 2.0]),
    "torch values": [torch.bfloat16, torch.device("cuda", 3), torch.Size([1, 2]), torch.strided],
    "numpy types": [np.dtype("<f4"), np.dtype([("a", "i4"), ("b", "f8", (2,))])],
    "numpy numbers": [
        *(np.float64(0.1), np.float32(0.1), np.int8(-3), np.uint64(2**64 - 1), np.bool_(True)),
        *(np.complex64(1 + 2j), np.str_("x"), np.bytes_(b"y"), np.datetime64("2026-01-01")),
    ],
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_values(name: str) -> None:
    value, found = PLAIN[name], again(PLAIN[name])
    assert repr(found) == repr(value)
    if "NaN" not in repr(value):
        assert found == value
    same_types(value, found)


def test_whole_numbers_of_any_length() -> None:
    """Python refuses to print those of more than 4300 digits."""
    assert again(10**6000) == 10**6000


def same_types(value: Any, found: Any) -> None:
    assert type(found) is type(value)
    if isinstance(value, dict):
        assert list(found) == list(value)
        for key in value:
            same_types(value[key], found[key])
    elif isinstance(value, (list, tuple, collections.deque)):
        for one, other in zip(value, found, strict=True):
            same_types(one, other)


def test_what_containers_have_besides_their_items() -> None:
    assert again(PLAIN["deque"]).maxlen == 5
    assert again(PLAIN["endless deque"]).maxlen is None
    assert again(PLAIN["default"])["new"] == []
    assert again(PLAIN["dates"])[0].fold == 1
    with pytest.raises(KeyError):
        again(PLAIN["no default"])["new"]


def test_dataclasses_come_back_without_running_their_code() -> None:
    found = again(careful())
    assert (found.number, found.derived) == (-1, 6)
    value = Plain(1)
    value.more = [1]  # type: ignore[attr-defined]
    assert again(value).more == [1]


def test_objects_that_occur_twice_are_one_again() -> None:
    shared: list[Any] = [1]
    counts = np.zeros(3)
    found = again({"a": shared, "b": [shared, shared], "c": counts, "d": counts})
    assert found["a"] is found["b"][0] is found["b"][1]
    assert found["c"] is found["d"]


def test_a_copy_shares_nothing_with_the_running_training() -> None:
    """As the asynchronous save needs it: what is changed after the capture is not what is saved."""
    counts, weights = np.zeros(3), torch.zeros(3)
    items: list[Any] = [1]
    recent, seen, plain = collections.deque([1]), {1}, Plain({"a": 1})
    table = collections.defaultdict(list, {"a": [1]})
    sparse = torch.eye(2).to_sparse()
    quantized = quiet(lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8))
    state = [counts, weights, items, recent, seen, plain, table, sparse, quantized]
    before = repr(state)
    frozen = freeze(state, lambda _, tensor: tensor.clone())
    counts += 1
    weights += 1
    items.append(2)
    recent.append(2)
    seen.add(2)
    plain.counts["b"] = 2
    plain.name = "changed"
    table["b"].append(2)
    sparse.values().add_(1)
    quiet(lambda: quantized.fill_(0.5))
    assert repr(state) != before
    assert repr(thaw(frozen)) == before


def test_metadata_of_a_state_dict() -> None:
    state = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 1)).state_dict()
    found = again(state)
    assert type(found) is type(state)
    assert found._metadata == state._metadata  # type: ignore[attr-defined]
    assert list(found._metadata) == list(state._metadata)  # type: ignore[attr-defined]


def test_random_generators() -> None:
    chance, own = random.Random(5), torch.Generator().manual_seed(5)
    new, old = np.random.default_rng(5), np.random.RandomState(5)
    philox = np.random.Generator(np.random.Philox(5))
    for generator in (chance, new, old, philox):
        generator.random()
    old.standard_normal()  # leaves a second one for the next time
    found = again([chance, own, new, old, philox, new.bit_generator])
    assert found[0].random() == chance.random()
    assert torch.equal(torch.randn(4, generator=found[1]), torch.randn(4, generator=own))
    assert found[5].state == new.bit_generator.state
    assert found[2].random() == new.random()
    assert found[3].standard_normal() == old.standard_normal()
    assert found[4].random() == philox.random()


class Unknown:
    pass


class Listed(list[int]):
    pass


class Dicted(dict[str, int]):
    pass


def local_class() -> Any:
    class Local(enum.Enum):
        A = 1

    return Local.A


def itself() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


def deep() -> Any:
    value: Any = 1
    for _ in range(150):
        value = [value]
    return value


class Tagged(torch.Tensor):
    pass


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (Unknown(), r"test_values\.Unknown: a checkpoint holds"),
        (Listed([1]), r"Listed"),
        (Dicted(a=1), r"Dicted"),
        (lambda: None, r"of type function"),
        (print, r"builtin_function"),
        (Colour, r"enum\.EnumType"),
        (nn.Linear(1, 1), r"Linear"),
        (iter([1]), r"list_iterator"),
        (io.StringIO(), r"StringIO"),
        (collections.defaultdict(lambda: 0), r"its default comes of"),
        (local_class(), r"its class is not found by its name"),
        (torch.ones(2, device="meta"), r"has no data"),
        (torch.ones(2).as_subclass(Tagged), r"Tagged"),
        (quiet(lambda: torch.nested.nested_tensor([torch.ones(2)])), r"Tensor"),
        (np.array([(None,)], dtype=[("a", "O")]), r"hold objects"),
        (np.zeros(1, dtype=[("a", "i4")]).view(np.recarray), r"recarray"),
        (itself(), r"it contains itself"),
        (deep(), r"nested more than"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_not_known_is_refused_by_its_key(value: Any, why: str) -> None:
    state = {"seen": {"buffer": [1, Pair(value)]}}
    for attempt in (check, lambda v: freeze(v, lambda _, tensor: tensor.clone())):
        with pytest.raises(StateError, match=why) as refused:
            attempt(state)
        assert str(refused.value).startswith('seen["buffer"][1].left')
        assert "\n" not in str(refused.value)


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.dates()
    | st.complex_numbers(allow_nan=False)
)
keys = st.text() | st.integers() | st.tuples(st.integers(), st.text())
trees: Any = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(keys, inner)
        | st.tuples(inner, inner)
        | st.builds(Plain, inner)
        | st.builds(collections.deque, st.lists(inner))
    ),
    max_leaves=20,
)


@given(trees)
def test_any_nesting(value: Any) -> None:
    found = again(value)
    assert found == value
    assert repr(found) == repr(value)


@given(st.data())
def test_any_tree_of_a_file_gives_a_value_or_a_refusal(data: st.DataObject) -> None:
    """What somebody else wrote: no other error, no code."""
    nodes = st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["is", "items", "of", "value", "id", "as", "data", "fields", "shape"]
                ),
                inner | st.sampled_from(["dict", "list", "tensor", "same", "enum", "os:system"]),
                max_size=4,
            )
        ),
        max_leaves=10,
    )
    tree = data.draw(nodes)
    with contextlib.suppress(StateError):
        thaw(Frozen(tree, {}))

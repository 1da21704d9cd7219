"""Typed records as JSON: they come back as they went, and nothing else comes in."""

import contextlib
import enum
import functools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ef_slurm.api.messages import Await, Judged, Register, Until
from ef_slurm.api.problems import Problem
from ef_slurm.api.routes import ROUTES
from ef_slurm.formats.codec import (
    DecodeError,
    decode,
    encode,
    from_plain,
    pretty,
    to_plain,
)
from ef_slurm.model import (
    BatchScript,
    Block,
    Event,
    EventKind,
    IfInfeasible,
    Intent,
    JobKind,
    JobRequest,
    JobState,
    Json,
    Outcome,
    Overhead,
    Policy,
    Promise,
    QueueJob,
    Reason,
    ReasonCode,
    Reservation,
    Running,
    StoredVerdict,
    ThroughputCurve,
    Verdict,
)
from tests.unit.formats.records import JSON, values

KINDS = (
    *(route.request for route in ROUTES),
    *dict.fromkeys(route.response for route in ROUTES),
    Problem,
    *(
        BatchScript,
        Block,
        Event,
        Intent,
        JobRequest,
        Overhead,
        Promise,
        Reason,
        Running,
        StoredVerdict,
    ),
    tuple[str, ...],
    tuple[Reservation, ...],
    dict[str, tuple[tuple[int, float], ...]],
)
REQUEST = JobRequest(
    slurm_job_id=7,
    owner="user1",
    uid=3001,
    name="trän",
    submitted=100.5,
    kind=JobKind.SOFT_DEADLINE,
    iterations=1000,
    global_batch_size=64,
    curves=(("a100", ThroughputCurve.of({1: 2.0, 2: 3.5})),),
    state_dir="/shared/x",
    deadline=5000.0,
    grace=10.0,
    if_infeasible=IfInfeasible.WAIT,
)


# For each of many types; the larger ones take long to make up.
FEW = settings(
    deadline=None,
    max_examples=20,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def no_constant(name: str) -> Any:
    raise AssertionError(f"{name} is not JSON")


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@FEW
def test_values_come_back_as_they_went(kind: Any, data: st.DataObject) -> None:
    value = data.draw(values(kind))
    text = encode(value)
    assert decode(kind, text) == value
    plain = json.loads(text, parse_constant=no_constant)
    assert from_plain(kind, plain) == value
    assert from_plain(kind, to_plain(value), refuse_unknown=True) == value
    assert json.loads(pretty(value), parse_constant=no_constant) == plain


def check_total(read: Callable[[], Any], kind: Any) -> None:
    """Reading gives a value that can be written again, or a DecodeError, and nothing else."""
    with contextlib.suppress(DecodeError):
        value = read()
        assert decode(kind, encode(value)) == value


NASTY = (
    *(b"", b" ", b"\xff", b'"\xff"', b'"\\ud800"', b'"\\udc80\\ud800"', b'"\\u12', b"\x00", b"{"),
    *(b"NaN", b"Infinity", b"-Infinity", b"nul", b"1e400", b"-1e400", b"0x1", b"01", b"+1", b"1."),
    *(b"1" + b"0" * 400, b"-1" + b"0" * 400, b"1" * 5000, b"1e-400", b"-0", b"1e18", b"1e19"),
    *(b"[" * 60_000, b'{"a":' * 60_000, b"[" * 900 + b"]" * 900, b'[{"x":' * 30_000),
    *(b'{"job":' * 60_000, b'{"jobs":[' * 30_000, b'{"x":' + b"[" * 60_000, b'{"x":NaN}'),
    *(b'"x - at `$.y`"', b'"` - at `$[9].y"', b'{"a` - at `$.b": 1}', b'{"job": "x` - at `$.y"}'),
    *(b'\xef\xbb\xbf{}', '{"a":1}'.encode("utf-16"), b'{"now":1,"now":2}', b'{"\\ud800":1}'),
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_that_is_refused(kind: Any) -> None:
    for data in NASTY:
        for junk in (data, data.decode("latin-1")):
            check_total(functools.partial(decode, kind, junk, "here"), kind)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@FEW
def test_junk_in_any_place_gives_a_value_or_a_decode_error(kind: Any, data: st.DataObject) -> None:
    plain = to_plain(data.draw(values(kind)))
    junk = data.draw(
        JSON
        | st.integers()
        | st.just(10**400)
        | st.floats()
        | st.text(st.characters(categories=("Cs", "L")), max_size=3)
    )
    place: Any = plain
    while place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or data.draw(st.booleans()):
            place[key] = junk
            break
        place = place[key]
    else:
        plain = junk
    check_total(lambda: from_plain(kind, plain), kind)
    check_total(lambda: decode(kind, json.dumps(plain)), kind)


@pytest.mark.parametrize("kind", KINDS)
@given(junk=st.binary(max_size=30) | st.text(max_size=30))
@FEW
def test_any_bytes_give_a_value_or_a_decode_error(kind: Any, junk: bytes | str) -> None:
    check_total(lambda: decode(kind, junk), kind)


def test_what_an_earlier_release_wrote() -> None:
    """Taken from the release before this codec: its commands and state directories hold such."""
    text = (
        '{"verdict": {"job_id": "0000000001", "outcome": "rejected", "reason": {"code": "rejected",'
        ' "job": null, "gpus": null, "until": "inf"}, "share": 0, "finish": null,'
        ' "earliest_deadline": 12.5}, "schedule": [{"start": 1.0, "end": "inf", "gpus": 4,'
        ' "gpu_type": "a100", "first_gpu": 8}], "explanation": "no \\u2026", "others": []}'
    )
    judged = Judged(
        Verdict(
            "0000000001",
            Outcome.REJECTED,
            Reason(ReasonCode.REJECTED, until=math.inf),
            earliest_deadline=12.5,
        ),
        (Reservation(1.0, math.inf, 4, "a100", 8),),
        "no …",
    )
    assert decode(Judged, text) == judged
    # What was added since has a default.
    assert _as_before(json.loads(encode(judged)), json.loads(text)) == json.loads(text)


def _as_before(written: Any, before: Any) -> Any:
    if isinstance(before, dict):
        return {key: _as_before(written[key], value) for key, value in before.items()}
    return written


def test_an_unknown_key_is_ignored_or_refused() -> None:
    plain = to_plain(REQUEST) | {"gracee": 1, "new": [{}]}
    assert from_plain(JobRequest, plain) == REQUEST
    assert decode(JobRequest, json.dumps(plain)) == REQUEST
    with pytest.raises(DecodeError, match="request.gracee: unknown key: did you mean 'grace'") as e:
        from_plain(JobRequest, plain, "request", refuse_unknown=True)
    assert e.value.place == "request.gracee"
    plain = {"limits": [{"max_gpus": 1}, {"max_gpus": 1, "user": "x"}]}
    with pytest.raises(DecodeError, match=r"valid ones are account, max_gpus, owner") as e:
        from_plain(Policy, plain, refuse_unknown=True)
    assert e.value.place == "limits[1].user"


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ('{"start":1,"reshape":2.5,"shrink":3}', Overhead(1.0, 2.5, 3.0, 2.5, 2.5)),
        ('{"reshape":2.5,"move":0}', Overhead(grow=2.5, restart=2.5)),
        ('{"reshape":0}', Overhead()),
        ("{}", Overhead()),
    ],
)
def test_a_former_key_states_what_it_meant(text: str, known: Overhead) -> None:
    """It counts for those fields that the text does not name, wherever the record stands."""
    assert decode(Overhead, text) == known
    assert from_plain(Overhead, json.loads(text), refuse_unknown=True) == known
    inside = json.loads(encode(REQUEST)) | {"overhead": json.loads(text)}
    assert decode(JobRequest, json.dumps(inside)) == replace(REQUEST, overhead=known)
    assert "reshape" not in json.loads(encode(known))


@pytest.mark.parametrize("value", ['"x"', "null", "[]", "true", "NaN"])
def test_a_wrong_former_key_is_named(value: str) -> None:
    with pytest.raises(DecodeError) as caught:
        from_plain(Overhead, {"reshape": json.loads(value)}, "cost", refuse_unknown=True)
    assert caught.value.place == "cost.reshape"
    assert "expected a number" in caught.value.problem


@pytest.mark.parametrize("key", ["a` - at `$.b", "a` - at `$.limits[9].x", "a` - at `$[1]", "`"])
def test_a_key_that_reads_as_a_place_is_refused_too(key: str) -> None:
    with pytest.raises(DecodeError, match="unknown"):
        from_plain(Policy, {key: 1}, refuse_unknown=True)


def test_a_missing_key_takes_its_default() -> None:
    plain = to_plain(REQUEST)
    for name in ("overhead", "account", "max_time", "if_infeasible"):
        del plain[name]
    assert from_plain(JobRequest, plain) == replace(REQUEST, if_infeasible=IfInfeasible.REJECT)
    del plain["uid"]
    with pytest.raises(DecodeError, match="^job: uid is missing$"):
        from_plain(JobRequest, plain, "job")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"curves": [["a", {"points": [[3, 1]]}]]}, r"curves\[0\]\[1\]: throughput curve GPUs: 3"),
        ({"curves": [["a100"]]}, r"^job.curves\[0\]: expected a list of 2, got a list of 1"),
        ({"curves": [["a", {"points": [[1, "x"]]}]]}, r"s\[0\]\[1\]: expected a number, got 'x'"),
        ({"overhead": {"start": -1}}, "^job.overhead: overhead start: -1"),
        ({"overhead": 3}, "^job.overhead: expected keys and values, got 3"),
        ({"if_infeasible": "x"}, "^job.if_infeasible: expected one of 'reject', .*, got 'x'"),
        ({"kind": None}, "^job.kind: expected one of .*, got null"),
        ({"deadline": "nan"}, "^job.deadline: expected a number, got 'nan'"),
        ({"deadline": "Infinity"}, "^job.deadline: expected a number"),
        ({"deadline": True}, "^job.deadline: expected a number, got true"),
        ({"uid": 1.5}, "^job.uid: expected a whole number, got 1.5"),
        ({"uid": True}, "^job.uid: expected a whole number, got true"),
        ({"uid": "1"}, "^job.uid: expected a whole number, got '1'"),
        ({"uid": 2**63}, "^job.uid: expected a whole number, got 9223372036854775808"),
        ({"uid": 10**400}, "^job.uid: expected a whole number, got a number of 1329 bits"),
        ({"owner": 5}, "^job.owner: expected a text, got 5"),
        ({"name": {"x": "y" * 100}}, "^job.name: expected a text, got keys and values"),
        ({"uid": "y" * 100}, "got 'y{60}…'$"),
    ],
)  # fmt: skip
def test_errors_say_where_and_what(changes: Mapping[str, object], message: str) -> None:
    plain = to_plain(REQUEST) | changes
    with pytest.raises(DecodeError, match=message):
        from_plain(JobRequest, plain, "job")
    with pytest.raises(DecodeError, match=message):
        decode(JobRequest, json.dumps(plain), "job")


def test_an_error_of_the_whole_has_no_place() -> None:
    with pytest.raises(DecodeError, match="^expected keys and values, got a list of 0$"):
        decode(Await, b"[]")
    with pytest.raises(DecodeError, match="^not JSON: "):
        decode(Await, b'{"job_id": 1')
    with pytest.raises(
        DecodeError, match="^until: expected one of 'verdict', 'measuring', 'end', got 3$"
    ):
        from_plain(Await, {"job_id": 1, "until": 3, "seconds": 1})
    with pytest.raises(
        DecodeError, match="^expected one of 'verdict', 'measuring', 'end', got 'x'$"
    ):
        decode(Until, b'"x"')


def test_what_json_has_no_word_for() -> None:
    assert encode((math.inf, -math.inf)) == b'["inf","-inf"]'
    nan: object
    for nan in (math.nan, {"x": [math.nan]}, replace(REQUEST, grace=math.nan), np.float64("nan")):
        with pytest.raises(TypeError, match="cannot encode NaN"):
            encode(nan)
    for value in (object(), {1}, np.int64(1), b"x", (1j,)):
        with pytest.raises(TypeError, match="cannot encode a"):
            encode(value)
        with pytest.raises(TypeError, match="cannot encode a"):
            pretty(value)


def test_a_float_of_numpy_is_a_number() -> None:
    verdict = Verdict("1", Outcome.PROMISED, Reason(ReasonCode.STARTED), finish=np.float64(1.5))
    assert decode(Verdict, encode(verdict)).finish == 1.5
    assert encode([np.float64(2.5), np.float64("inf")]) == b'[2.5,"inf"]'


def test_an_argument_that_is_no_utf8() -> None:
    """The operating system's bytes, as Python shows them: jobs are submitted with such names."""
    odd = b"caf\xe9.py".decode(errors="surrogateescape")
    script = Register(replace(REQUEST, deadline=math.inf), BatchScript("true", arguments=(odd,)))
    assert decode(Register, encode(script)) == script
    assert decode(Register, pretty(script)) == script


class Colour(enum.Enum):
    RED = "red"


class Pair(NamedTuple):
    at: float
    colour: Colour = Colour.RED
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Odd:
    pairs: tuple[Pair, ...] = ()
    one: Pair | None = None
    path: Path = Path("/etc")
    paths: tuple[Path, ...] = ()
    by_name: Mapping[str, Pair] = field(default_factory=dict)
    data: Mapping[str, Json] = field(default_factory=dict)
    never: float = math.inf


def test_named_tuples_paths_and_mappings() -> None:
    value = Odd(
        (Pair(-math.inf, Colour.RED, Path("/a")), Pair(1.0)),
        Pair(math.inf),
        Path("/b"),
        (Path("/c"),),
        {"x": Pair(2.0)},
        {"n": [1, {"deep": None}]},
    )
    assert to_plain(value) == {
        "pairs": [["-inf", "red", "/a"], [1.0, "red", None]],
        "one": ["inf", "red", None],
        "path": "/b",
        "paths": ["/c"],
        "by_name": {"x": [2.0, "red", None]},
        "data": {"n": [1, {"deep": None}]},
        "never": "inf",
    }
    assert decode(Odd, encode(value)) == value
    assert decode(Odd, b"{}") == Odd()
    assert decode(Odd, b'{"one": [3]}').one == Pair(3.0)
    with pytest.raises(DecodeError, match=r"one\[1\]: expected one of 'red', got 'blue'"):
        decode(Odd, b'{"one": [3, "blue"]}')
    with pytest.raises(
        DecodeError, match=r"one: expected a list: at, colour, path, got a list of 0"
    ):
        decode(Odd, b'{"one": []}')
    with pytest.raises(DecodeError, match=r"by_name.x\[0\]: expected a number, got null"):
        decode(Odd, b'{"by_name": {"x": [null]}}')


def test_a_type_that_the_codec_does_not_know() -> None:
    for kind in (complex, set[int]):
        with pytest.raises(TypeError):
            decode(kind, b"1")


def test_the_data_of_an_event_is_plain_json() -> None:
    event = Event(1.0, EventKind.NODE, "me", "x", data={"from": "inf", "gpus": [1, 2.5, None]})
    assert decode(Event, encode(event)) == event


def test_a_row_of_the_queue_is_a_record_too() -> None:
    """`last_reshape` is -inf for never."""
    job = QueueJob(1, REQUEST, JobState.NEW)
    assert decode(QueueJob, encode(job)) == job

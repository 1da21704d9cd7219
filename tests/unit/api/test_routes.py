"""Requests as method, path, query and body, and back."""

from dataclasses import fields, replace
from typing import get_args

import pytest

from ef_slurm.api import messages, routes
from ef_slurm.api.messages import (
    AddRates,
    Await,
    Cancel,
    DeleteRates,
    Explain,
    FailureCode,
    FindCurves,
    Judge,
    ListHistory,
    ListJobs,
    ListRates,
    Ping,
    Register,
    Request,
    Until,
    Withdraw,
)
from ef_slurm.api.routes import ROUTES, HttpRequest, RequestError
from ef_slurm.model import JobState, MeasuredRate, ProfileKey
from tests.unit.api.fakes import REQUEST, SCRIPT

ODD = b"caf\xe9.py".decode(errors="surrogateescape")
RATE = MeasuredRate(ProfileKey("bert", 64, "bf16", "a100"), 1, 1, 10.0, 30.0, "me", "", 1000.0)
REQUESTS: tuple[tuple[Request, str], ...] = (
    (Ping(), "GET /v1/ping"),
    (ListJobs(), "GET /v1/jobs"),
    (ListHistory(1.5), "GET /v1/history?since=1.5"),
    (
        ListHistory(0.0, 1e9, ("a",), ("b", "c"), 1700000000.125, 7),
        "GET /v1/history?since=0.0&until=1000000000.0&user=a&account=b&account=c"
        "&after=1700000000.125&after_row=7",
    ),
    (
        ListJobs(("a", "b&c"), (JobState.NEW, JobState.HELD), (1, 2), True),
        "GET /v1/jobs?user=a&user=b%26c&state=new&state=held&id=1&id=2&all=true",
    ),
    (Register(REQUEST, SCRIPT), "POST /v1/jobs"),
    (Register(REQUEST, replace(SCRIPT, arguments=(ODD,))), "POST /v1/jobs"),
    (Await(7), "GET /v1/jobs/7"),
    (Await(7, Until.VERDICT, 2.5), "GET /v1/jobs/7?until=verdict&wait=2.5"),
    (Await(7, Until.END, 1e-7), "GET /v1/jobs/7?wait=1e-07"),
    (Withdraw(7), "DELETE /v1/jobs/7"),
    (Explain(7), "GET /v1/jobs/7/story"),
    (Cancel((7, 8)), "POST /v1/cancellations"),
    (Judge(REQUEST), "POST /v1/what-if"),
    (
        FindCurves("bért large", 64),
        "GET /v1/curves?model_name=b%C3%A9rt+large&global_batch_size=64",
    ),
    (FindCurves("bert", None), "GET /v1/curves?model_name=bert"),
    (ListRates(), "GET /v1/rates"),
    (ListRates(gpu_type="a100"), "GET /v1/rates?gpu_type=a100"),
    (AddRates((RATE,)), "POST /v1/rates"),
    (
        DeleteRates("bert", global_batch_size=64),
        "DELETE /v1/rates?model_name=bert&global_batch_size=64",
    ),
)


def code(method: str, target: str, body: bytes = b"") -> tuple[FailureCode, str]:
    with pytest.raises(RequestError) as error:
        routes.read(method, target, body)
    return error.value.failure.code, str(error.value)


@pytest.mark.parametrize(("request_", "line"), REQUESTS, ids=lambda one: str(one)[:40])
def test_requests_come_as_they_went(request_: Request, line: str) -> None:
    sent = routes.write(request_)
    assert f"{sent.method} {sent.target}" == line
    assert routes.read(sent.method, sent.target, sent.body) == request_


def test_every_message_has_one_route() -> None:
    kinds = [route.request for route in ROUTES]
    assert sorted(map(repr, kinds)) == sorted(map(repr, get_args(messages.Request)))
    assert {route.response for route in ROUTES} == {
        kind for kind in get_args(messages.Response) if kind is not messages.Failure
    }
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
    assert len({route.name for route in ROUTES}) == len(ROUTES)


def test_every_field_travels() -> None:
    for route in ROUTES:
        names = {each.name for each in fields(route.request)}
        in_path = {name for name in names if f"{{{name}}}" in route.path}
        travels = names if route.has_body else {*route.query.values(), *in_path}
        assert travels == names, route.name
        assert not (route.has_body and in_path), f"{route.name}: read() takes all of the body"


@pytest.mark.parametrize(
    ("line", "problem", "words"),
    [
        ("GET /v1/job", FailureCode.NO_SUCH_PATH, "there is no /v1/job: /v1/openapi.json lists"),
        ("GET /", FailureCode.NO_SUCH_PATH, "there is no /"),
        ("GET jobs", FailureCode.NO_SUCH_PATH, "there is no jobs"),
        ("GET /v2/jobs", FailureCode.OTHER_VERSION, "serves /v1/…, not /v2/jobs"),
        ("GET /v1/jobs/", FailureCode.NO_SUCH_PATH, "no /v1/jobs/"),
        ("GET /v1/jobs/0", FailureCode.NO_SUCH_PATH, "no /v1/jobs/0"),
        ("GET /v1/jobs/-7", FailureCode.NO_SUCH_PATH, "no /v1/jobs/-7"),
        ("GET /v1/jobs/7/..", FailureCode.NO_SUCH_PATH, "no /v1/jobs/7/.."),
        ("GET /v1/jobs/" + "9" * 19, FailureCode.NO_SUCH_PATH, "no /v1/jobs/999"),
        ("GET /v1/jobs/٣", FailureCode.NO_SUCH_PATH, "no /v1/jobs/"),
        ("GET /v1/jobs/7\n", FailureCode.NO_SUCH_PATH, r"no /v1/jobs/7\n"),
        ("PUT /v1/jobs", FailureCode.NO_SUCH_METHOD, "/v1/jobs knows GET, POST, not PUT"),
        ("HEAD /v1/ping", FailureCode.NO_SUCH_METHOD, "knows GET, not HEAD"),
        ("GET /v1/jobs?usr=a", FailureCode.BAD_REQUEST, "'usr'; valid: user, state, id, all"),
        ("GET /v1/ping?a=1", FailureCode.BAD_REQUEST, "unknown parameter 'a'; valid: none"),
        ("GET /v1/jobs?all=1", FailureCode.BAD_REQUEST, "all: expected true or false, got '1'"),
        ("GET /v1/jobs?all=true&all=true", FailureCode.BAD_REQUEST, "expected once, got 2 times"),
        ("GET /v1/jobs?id=1.5", FailureCode.BAD_REQUEST, "id: expected a whole number, got '1.5'"),
        ("GET /v1/jobs?id=1_0", FailureCode.BAD_REQUEST, "expected a whole number, got '1_0'"),
        ("GET /v1/jobs?id=" + "1" * 5000, FailureCode.BAD_REQUEST, "expected a whole number"),
        ("GET /v1/jobs?user=%ff", FailureCode.BAD_REQUEST, "list query"),
        ("GET /v1/jobs?state=ended", FailureCode.BAD_REQUEST, "expected one of 'new'"),
        (
            "GET /v1/jobs/1?until=then",
            FailureCode.BAD_REQUEST,
            "'measuring', 'end', got 'then'",
        ),
        ("GET /v1/jobs/1?wait=nan", FailureCode.BAD_REQUEST, "expected a number, got 'nan'"),
        ("GET /v1/jobs/1?wait=inf", FailureCode.BAD_REQUEST, "expected a number, got 'inf'"),
        ("GET /v1/jobs/1?wait=1e999", FailureCode.BAD_REQUEST, "expected a number, got '1e999'"),
        ("GET /v1/curves?precision=bf16", FailureCode.BAD_REQUEST, "model_name is missing"),
        ("POST /v1/what-if?job=1", FailureCode.BAD_REQUEST, "from the body, not from a query"),
        ("POST /v1/what-if", FailureCode.BAD_REQUEST, "judge: not JSON"),
    ],
)
def test_what_is_not_understood(line: str, problem: FailureCode, words: str) -> None:
    method, _, target = line.partition(" ")
    found, said = code(method, target)
    assert found is problem
    assert words in said
    assert said.isprintable()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"\xff\xfe", "cancel: not JSON"),
        (b"[" * 100_000, "cancel: expected keys and values"),
        (b"[]", "cancel: expected keys and values, got a list of 0"),
        (b"null", "cancel: expected keys and values, got null"),
        (b"{}", "cancel: job_ids is missing"),
        (b'{"job_ids": 7}', "cancel.job_ids: expected a list, got 7"),
        (b'{"job_ids": ["x"]}', "cancel.job_ids[0]: expected a whole number, got 'x'"),
        (b'{"job_ids": [1e400]}', "cancel.job_ids[0]"),
        (b'{"job_ids": [NaN]}', "cancel: not JSON"),
    ],
)
def test_bodies_that_are_not_as_agreed(body: bytes, words: str) -> None:
    found, said = code("POST", "/v1/cancellations", body)
    assert found is FailureCode.BAD_REQUEST
    assert words in said


def test_a_body_where_none_belongs() -> None:
    assert code("GET", "/v1/ping", b"{}")[0] is FailureCode.BAD_REQUEST


def test_a_target_may_not_be_longer_than_said() -> None:
    long = "/v1/jobs?" + "&".join(f"id={number}" for number in range(10**9, 10**9 + 600))
    assert code("GET", long)[0] is FailureCode.TOO_LARGE
    most = ListJobs(job_ids=tuple(range(10**9, 10**9 + messages.MOST_JOB_IDS)))
    assert len(routes.write(most).target) <= routes.TARGET_LIMIT


def test_a_newer_writers_key_is_ignored_in_a_body() -> None:
    assert routes.read("POST", "/v1/cancellations", b'{"job_ids": [1], "why": 2}') == Cancel((1,))


def test_what_is_sent_is_plain() -> None:
    assert routes.write(Ping()) == HttpRequest("GET", "/v1/ping")

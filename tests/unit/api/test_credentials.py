"""What a credential is good for, and for how long."""

import pytest

from ef_slurm.api import credentials
from ef_slurm.api.credentials import (
    FRESH_SECONDS,
    CredentialError,
    ReplayGuard,
    SignedRequest,
    answer_credential,
    authorization,
    check_answer,
    check_request,
    new_nonce,
    read_authorization,
    request_digest,
)
from ef_slurm.api.messages import FailureCode
from ef_slurm.api.munge import MungeProblem
from tests.unit.api.fakes import FakeMunge

DIGEST = request_digest("GET", "/v1/jobs", b"")
SIGNED = SignedRequest(DIGEST, 1000, "n1", "ctl:6830", "mini")


def refused(code: FailureCode, match: str) -> "pytest.RaisesExc[CredentialError]":
    def has_code(error: CredentialError) -> bool:
        return error.failure.code is code

    return pytest.raises(CredentialError, match=match, check=has_code)


def test_what_is_signed_is_read() -> None:
    munge = FakeMunge(3001)
    identity, signed = read_authorization(authorization(SIGNED, munge), munge)
    assert (identity.uid, signed) == (3001, SIGNED)
    check_request(signed, DIGEST, "ctl:6830")


@pytest.mark.parametrize(
    "digest",
    [
        request_digest("DELETE", "/v1/jobs", b""),
        request_digest("GET", "/v1/jobs/7", b""),
        request_digest("GET", "/v1/jobs?all=true", b""),
        request_digest("GET", "/v1/jobs", b"x"),
    ],
)
def test_it_is_good_for_one_method_path_and_body(digest: str) -> None:
    with refused(FailureCode.UNAUTHENTICATED, "made for another request"):
        check_request(SIGNED, digest, "ctl:6830")


def test_it_is_good_for_one_daemon() -> None:
    with refused(FailureCode.UNAUTHENTICATED, "made for the daemon at 'ctl:6830', this one"):
        check_request(SIGNED, DIGEST, "other:6830")


@pytest.mark.parametrize("nonce", ["", "n" * 65])
def test_it_has_a_nonce(nonce: str) -> None:
    with refused(FailureCode.UNAUTHENTICATED, "nonce"):
        check_request(SignedRequest(DIGEST, 1000, nonce, "ctl:6830"), DIGEST, "ctl:6830")


@pytest.mark.parametrize("value", [None, "", "Basic dXNlcg==", "munge MUNGE:x:"])
def test_without_one(value: str | None) -> None:
    with refused(FailureCode.UNAUTHENTICATED, "needs a MUNGE credential"):
        read_authorization(value, FakeMunge())


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "hello",
        '{"digest": "", "sent": NaN, "nonce": "n", "daemon": ""}',
        '{"digest": "", "sent": "inf", "nonce": "n", "daemon": ""}',
        '{"digest": "", "sent": 1e30, "nonce": "n", "daemon": ""}',
        '{"digest": "", "sent": 1.5, "nonce": "n", "daemon": ""}',
        '{"digest": "", "sent": null, "nonce": "n", "daemon": ""}',
    ],
)
def test_a_credential_that_says_something_else(payload: str) -> None:
    munge = FakeMunge()
    with refused(FailureCode.UNAUTHENTICATED, "credential"):
        read_authorization(f"MUNGE {munge.encode(payload)}", munge)


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (MungeProblem.REPLAYED, FailureCode.REPLAYED),
        (MungeProblem.EXPIRED, FailureCode.STALE),
        (MungeProblem.REWOUND, FailureCode.STALE),
        (MungeProblem.INVALID, FailureCode.UNAUTHENTICATED),
        (MungeProblem.UNAVAILABLE, FailureCode.INTERNAL),
    ],
)
def test_what_munged_refuses(problem: MungeProblem, code: FailureCode) -> None:
    munge = FakeMunge()
    value = authorization(SIGNED, munge)
    munge.problem = problem
    with refused(code, "unmunge"):
        read_authorization(value, munge)


class TestAnswers:
    def test_the_daemons(self) -> None:
        munge = FakeMunge(990)
        credential = answer_credential(200, b"{}", "n1", munge)
        assert check_answer(credential, 200, b"{}", "n1", munge) == 990

    @pytest.mark.parametrize(
        ("status", "body", "nonce", "match"),
        [
            (404, b"{}", "n1", "another answer"),
            (200, b"{ }", "n1", "another answer"),
            (200, b"{}", "n2", "another request"),
        ],
    )
    def test_of_something_else(self, status: int, body: bytes, nonce: str, match: str) -> None:
        munge = FakeMunge()
        credential = answer_credential(200, b"{}", "n1", munge)
        with refused(FailureCode.UNAUTHENTICATED, match):
            check_answer(credential, status, body, nonce, munge)

    def test_without_a_credential(self) -> None:
        with refused(FailureCode.UNAUTHENTICATED, "no MUNGE credential"):
            check_answer(None, 200, b"{}", "n1", FakeMunge())


class TestReplayGuard:
    def test_each_nonce_is_let_through_once(self) -> None:
        guard = ReplayGuard()
        guard.check(1, "a", 100, 100.0)
        guard.check(1, "b", 100, 101.0)
        guard.check(2, "a", 100, 101.0)
        with refused(FailureCode.REPLAYED, "seen before"):
            guard.check(1, "a", 100, 100.0 + FRESH_SECONDS)

    @pytest.mark.parametrize(
        "age", [FRESH_SECONDS + 1, -FRESH_SECONDS - 1, float("nan"), float("inf"), 1e308]
    )
    def test_stale_or_from_the_future(self, age: float) -> None:
        with refused(FailureCode.STALE, "clocks"):
            ReplayGuard().check(1, "a", 1000, 1000.0 + age)

    def test_only_what_is_stale_anyway_is_forgotten(self) -> None:
        guard = ReplayGuard()
        guard.check(1, "a", 0, 0.0)
        for now in range(0, 3 * FRESH_SECONDS, 50):
            with pytest.raises(CredentialError):
                guard.check(1, "a", 0, float(now))

    def test_it_remembers_no_more_than_it_can(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(credentials, "MOST_REMEMBERED", 3)
        guard = ReplayGuard()
        for number in range(3):
            guard.check(1, str(number), 0, 0.0)
        with refused(FailureCode.BUSY, "busy"):
            guard.check(1, "more", 0, 0.0)
        guard.check(1, "later", 1000, 1000.0)

    def test_nonces_differ(self) -> None:
        assert new_nonce() != new_nonce()

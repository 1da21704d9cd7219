"""Failures as problem documents (RFC 9457)."""

import json

import pytest

from ef_slurm.api.messages import Failure, FailureCode
from ef_slurm.api.problems import STATUS, TITLES, read_problem, write_problem
from ef_slurm.formats.codec import DecodeError


@pytest.mark.parametrize("code", list(FailureCode))
def test_failures_come_as_they_went(code: FailureCode) -> None:
    document = json.loads(write_problem(Failure(code, "no „way“")))
    assert document == {
        "type": f"urn:ef-slurm:problem:{code.value}",
        "title": TITLES[code],
        "status": STATUS[code],
        "detail": "no „way“",
    }
    assert read_problem(write_problem(Failure(code, "no"))) == Failure(code, "no")
    assert 400 <= STATUS[code] <= 599


def test_a_code_of_a_newer_daemon_is_one_of_its_faults() -> None:
    text = b'{"type": "urn:ef-slurm:problem:later", "title": "", "status": 418, "detail": "tea"}'
    assert read_problem(text) == Failure(FailureCode.INTERNAL, "tea")


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"type": "about:blank"}', b"{}", b"[]"])
def test_what_is_no_problem_document(body: bytes) -> None:
    with pytest.raises(DecodeError):
        read_problem(body)

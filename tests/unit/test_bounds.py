"""What is outside its bounds is refused by the name of its field, at every door into the queue."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from ef_slurm.model import (
    OVERHEAD_FIELDS,
    BatchScript,
    JobKind,
    JobRequest,
    ModelError,
    NoticeKind,
    Overhead,
    ThroughputCurve,
    check_request,
    check_script,
)
from ef_slurm.model.bounds import (
    LARGEST_ID,
    LONGEST_ASKED,
    LONGEST_SCRIPT,
    LONGEST_WAIT,
    MOST_ITERATIONS,
)

NOW = 1_700_000_000.0
CURVE = ThroughputCurve.of({1: 10.0, 2: 18.0})
REQUEST = JobRequest(
    slurm_job_id=7,
    owner="user1",
    uid=1001,
    name="train",
    submitted=NOW,
    kind=JobKind.DEADLINE,
    iterations=1000,
    global_batch_size=32,
    curves=(("a100", CURVE),),
    state_dir="/shared/jobs/7",
    deadline=NOW + 3600.0,
)
SCRIPT = BatchScript("#!/bin/sh\n", ("--job-name=x",), ("a b", ""), "/home/user1")
STRANGE = (math.nan, math.inf, -math.inf, 1e300, -1e300, -1.0)


def test_honest_jobs_pass() -> None:
    check_request(REQUEST, NOW)
    check_request(replace(REQUEST, deadline=NOW + LONGEST_WAIT, name="学習 run 1"), NOW)
    check_request(replace(REQUEST, kind=JobKind.SOFT_DEADLINE, grace=60.0), NOW)
    check_request(replace(REQUEST, kind=JobKind.BEST_EFFORT, deadline=None, max_time=60.0), NOW)
    # A node list of a large cluster whose names have little in common.
    nodes = ",".join(f"rack{number}-gpu{number:04d}-a" for number in range(2500))
    check_request(replace(REQUEST, asked=(("excluded nodes", nodes),)), NOW)
    check_script(SCRIPT)
    check_script(BatchScript("#!/bin/sh\n" + "x" * (LONGEST_SCRIPT - 10)))


@pytest.mark.parametrize(
    ("named", "changes"),
    [
        *(("deadline", {"deadline": value}) for value in (*STRANGE, 0.0, -0.0, NOW - 1)),
        ("deadline", {"deadline": NOW + LONGEST_WAIT + 1}),
        *(("begin", {"begin": value}) for value in (*STRANGE, NOW + LONGEST_WAIT + 1)),
        ("begin", {"begin": REQUEST.deadline}),
        *(
            ("grace", {"grace": value, "kind": JobKind.SOFT_DEADLINE})
            for value in (*STRANGE, LONGEST_WAIT + 1)
        ),
        *(("time limit", {"max_time": value}) for value in (*STRANGE, 0.0, -0.0)),
        *(("submission time", {"submitted": value}) for value in (*STRANGE, NOW + 2 * 86400)),
        *(("iterations", {"iterations": n}) for n in (0, -1, 2**63, 10**400, MOST_ITERATIONS + 1)),
        *(("global batch size", {"global_batch_size": n}) for n in (0, -5, 2**63, 10**30)),
        *(("max GPUs", {"max_gpus": n}) for n in (0, -1, 2**63, 10**30)),
        *(("Slurm job", {"slurm_job_id": n}) for n in (-1, LARGEST_ID + 1, 2**63)),
        *(("uid", {"uid": n}) for n in (-1, 2**32, 2**64)),
        *(("name", {"name": text}) for text in ("x" * 1025, "a\0b")),
        ("licenses", {"asked": (("licenses", "x" * (LONGEST_ASKED + 1)),)}),
        ("asked of Slurm", {"asked": (("x" * 1025, "x"),)}),
        ("asked of Slurm", {"asked": (("x", "x"),) * 17}),
        ("owner", {"owner": ""}),
        *(
            ("mail user", {"mail_user": text})
            for text in ("-oQ/tmp", "a b", "ann\nBcc: x", "ann,-v", "a,b,c,d,e,f", "x" * 9999)
        ),
        ("mail types", {"mail_types": (NoticeKind.END,) * 99}),
        ("owner", {"owner": "x" * 5000}),
        ("account", {"account": "x" * 5000}),
        *(
            ("state directory", {"state_dir": text})
            for text in ("", "relative", "/a\0b", "/a\nb", "/" + "x" * 5000, "/\udcff")
        ),
        ("source of the throughput curve", {"curve_source": "x" * 5000}),
        *(
            ("throughput at 1 GPUs", {"curves": (("gpu", ThroughputCurve.of({1: rate})),)})
            for rate in (1e300, 1e-300, 1e10)
        ),
        ("throughput curve GPUs", {"curves": (("gpu", ThroughputCurve.of({2**80: 1.0})),)}),
        ("throughput curves", {"curves": tuple((f"t{n}", CURVE) for n in range(33))}),
        ("throughput curves", {"curves": (("gpu", CURVE), ("gpu", CURVE))}),
        *(("GPU type", {"curves": ((text, CURVE),)}) for text in ("", "x" * 200, "a\x1b[2J")),
        (
            "throughput curves for growth",
            {"growth_curves": tuple((f"t{n}", CURVE) for n in range(33))},
        ),
        *(
            (f"overhead \\({field}\\)", {"overhead": Overhead(**{field: 1e9})})
            for field in OVERHEAD_FIELDS
        ),
    ],
    ids=str,
)
def test_a_request_out_of_bounds(named: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=f"^{named}: ") as caught:
        check_request(replace(REQUEST, **changes), NOW)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("named", "script"),
    [
        ("script", BatchScript("x" * (LONGEST_SCRIPT + 1))),
        ("script", BatchScript("a\0b")),
        ("script", BatchScript("a\udcffb")),
        ("sbatch options", BatchScript("", options=("x",) * 5000)),
        ("sbatch options", BatchScript("", options=("x" * 200_000,))),
        ("sbatch options", BatchScript("", options=("a\0b",))),
        ("arguments", BatchScript("", arguments=("x" * 200_000,))),
        ("directory", BatchScript("", directory="relative")),
        ("directory", BatchScript("", directory="/" + "x" * 5000)),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_script_out_of_bounds(named: str, script: BatchScript) -> None:
    with pytest.raises(ModelError, match=f"^{named}: ") as caught:
        check_script(script)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("value", ["x" * 10**6, 10**5000, ["x"] * 10**5, "\x1b[2J"], ids=type)
def test_an_error_repeats_no_more_than_is_needed(value: object) -> None:
    message = str(ModelError("field", value, "something else"))
    assert len(message) < 400
    assert message.isprintable()

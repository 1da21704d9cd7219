"""Who got what: accounts, their limits and weights, soft deadlines, best effort."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ef_slurm.cli.sim.command import main
from ef_slurm.cli.sim.options import planner_policy
from ef_slurm.formats.throughput import read_throughputs
from ef_slurm.simulator.accounts import by_account, parse_share
from ef_slurm.simulator.analytic import analytic_tables
from ef_slurm.simulator.cluster import uniform
from ef_slurm.simulator.errors import SimulatorError
from ef_slurm.simulator.generate import Recipe, generate
from ef_slurm.simulator.overhead import parse_overhead
from ef_slurm.simulator.simulate import Request, simulate
from ef_slurm.simulator.simulated_job import SimulatedJob
from ef_slurm.simulator.trace import read_trace, trace_text

CLUSTER = ("--nodes", "1", "--gpus-per-node", "4")
HEADER = (
    "submission_time,num_iteration,model_name,deadline,batch_size,num_gpu,duration,best_effort,"
    "grace,account\n"
)
TABLE = "global_batch_size,1,2,4\n8,1,2,4\n"


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def written(tmp_path: Path, rows: str) -> tuple[str, ...]:
    """The trace of these rows, on curves that scale perfectly."""
    file, tables = tmp_path / "trace.csv", tmp_path / "tables"
    tables.mkdir(exist_ok=True)
    (tables / "m.csv").write_text(TABLE)
    file.write_text(HEADER + rows)
    return str(file), "--throughputs", str(tables)


def most_held(jobs: list[SimulatedJob]) -> int:
    held = [share for job in jobs for share in job.held_shares]
    moments = {share.start for share in held}
    return max(
        sum(
            share.gpus for job in jobs for share in job.held_shares if share.start <= at < share.end
        )
        for at in moments
    )


def test_the_table_adds_up() -> None:
    trace = generate(Recipe(60, 60.0, seed=3, best_effort=0.3, accounts=3), analytic_tables())
    request = Request(trace, uniform(2, 4), "elasticflow", parse_overhead("constant:30"))
    result = simulate(request)
    found = by_account(result)
    assert [one.account for one in found] == ["a1", "a2", "a3"]
    assert sum(one.jobs for one in found) == 60
    assert sum(one.met for one in found) == result.metrics.met
    assert sum(one.best_effort_jobs for one in found) == result.metrics.best_effort_jobs
    assert sum(one.gpu_hours for one in found) == pytest.approx(result.metrics.gpu_hours)
    assert sum(one.share for one in found) == pytest.approx(1.0)


def test_compare_shows_who_got_what_in_text_json_and_page(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    options = (
        "--jobs",
        "30",
        "--mean-interarrival",
        "60",
        "--accounts",
        "2",
        "--best-effort",
        ".3",
    )
    assert invoke("generate", str(trace), *options).exit_code == 0
    out, page = tmp_path / "out.json", tmp_path / "out.html"
    policies = ("--policies", "elasticflow,slurm")
    done = invoke(
        "compare", str(trace), *CLUSTER, *policies, "--json", str(out), "--html", str(page)
    )
    assert done.exit_code == 0, done.output
    assert "GPU-hours  share" in done.output
    found = json.loads(out.read_text())["accounts"]
    assert [(one["policy"], one["account"]) for one in found] == [
        ("elasticflow", "a1"),
        ("elasticflow", "a2"),
        ("slurm", "a1"),
        ("slurm", "a2"),
    ]
    assert "Who got what" in page.read_text()


def test_where_the_trace_names_nobody_nothing_is_told_of_accounts(tmp_path: Path) -> None:
    trace, page = tmp_path / "trace.csv", tmp_path / "out.html"
    assert invoke("generate", str(trace), "--jobs", "10").exit_code == 0
    policies = ("--policies", "elasticflow,slurm", "--html", str(page))
    done = invoke("compare", str(trace), *CLUSTER, *policies)
    assert done.exit_code == 0, done.output
    assert "account" not in done.output
    assert "Who got what" not in page.read_text()


@pytest.mark.parametrize("policy", ["elasticflow", "slurm"])
def test_a_limit_holds_under_load(tmp_path: Path, policy: str) -> None:
    rows = "".join(f"{n},200,m,100000,8,1,200,0,,{'ab'[n % 2]}\n" for n in range(12))
    file, _, tables = written(tmp_path, rows)

    trace = read_trace(Path(file), read_throughputs(Path(tables)))
    result = simulate(
        Request(
            trace,
            uniform(1, 4),
            policy,
            parse_overhead("zero"),
            planner_policy=planner_policy("first-come", [("a", 1.0)], []),
        )
    )
    by_name = {name: [job for job in result.jobs if job.spec.account == name] for name in "ab"}
    assert most_held(by_name["a"]) == 1
    assert most_held(by_name["b"]) > 1
    assert all(job.finished is not None for job in result.jobs)


def test_a_soft_deadline_may_be_missed_by_its_grace(tmp_path: Path) -> None:
    # Two jobs of 400 GPU-seconds by 150 s: the second is done at 200 s at the earliest.
    rows = "0,400,m,150,8,4,100,0,0,a\n1,400,m,150,8,4,100,0,60,b\n"
    trace = written(tmp_path, rows)
    out = tmp_path / "out.json"
    done = invoke(
        "compare", *trace, *CLUSTER, "--policies", "elasticflow", "--check", "--json", str(out)
    )
    assert done.exit_code == 0, done.output
    numbers = json.loads(out.read_text())
    assert [(one["met"], one["met_in_grace"]) for one in numbers["accounts"]] == [(1, 0), (0, 1)]
    assert numbers["results"][0]["broken_promises"] == 0


def test_a_weight_lets_an_account_pay_more(tmp_path: Path) -> None:
    small = "".join(f"{4 * n},100,m,{4 * n + 200},8,1,100,0,,a\n" for n in range(60))
    large = "340,350,m,540,8,4,100,0,,b\n"
    trace = written(tmp_path, small + large)
    options = (*CLUSTER, "--policies", "elasticflow", "--admission", "most-promises")
    met = []
    for weight in ("1", "50"):
        out = tmp_path / f"{weight}.json"
        done = invoke(
            *("compare", *trace, *options),
            *("--weight", f"b={weight}", "--if-infeasible", "reject", "--json", str(out)),
        )
        assert done.exit_code == 0, done.output
        met.append(json.loads(out.read_text())["accounts"][1]["met"])
    assert met == [0, 1]


def test_grace_and_account_are_written_and_read(tmp_path: Path) -> None:
    name, _, directory = written(tmp_path, "0,400,m,150,8,4,100,0,60,b\n")
    file = Path(name)

    tables = read_throughputs(Path(directory))
    trace = read_trace(file, tables)
    assert (trace.jobs[0].grace, trace.jobs[0].account) == (60.0, "b")
    again = tmp_path / "again.csv"
    again.write_text(trace_text(trace))
    assert read_trace(again, tables).jobs == trace.jobs


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("0,400,m,150,8,4,100,0,-1,b\n", "column 'grace': '-1'"),
        ("0,400,m,150,8,4,100,0,soon,b\n", "column 'grace': 'soon'"),
        ("0,400,m,,8,4,100,1,60,b\n", "there is no deadline to miss"),
    ],
)
def test_what_no_grace_is(tmp_path: Path, row: str, words: str) -> None:
    done = invoke("run", *written(tmp_path, row), *CLUSTER)
    assert done.exit_code == 1
    assert words in done.output


@pytest.mark.parametrize("text", ["a", "=3", "a=", "a=x", "a=-1", "a=nan"])
def test_what_no_account_number_is(text: str) -> None:
    with pytest.raises(SimulatorError, match="is not valid"):
        parse_share(text, "--limit", "GPUS")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--limit", "a=1.5"), "a whole number of GPUs"),
        (("--weight", "a=0"), "weight"),
        (("--weight", "a"), "ACCOUNT=NUMBER"),
    ],
)
def test_options_that_are_wrong(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    done = invoke("run", *written(tmp_path, "0,400,m,150,8,4,100,0,0,a\n"), *CLUSTER, *options)
    assert done.exit_code != 0
    assert words in done.output
    assert "Traceback" not in done.output

"""ef-sim as a person meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ef_slurm.cli.sim.command import main
from ef_slurm.simulator.policies.registry import POLICIES

CLUSTER = ("--nodes", "4", "--gpus-per-node", "4")
WANTED = {
    "jobs",
    "admitted",
    "met",
    "ratio",
    "broken_promises",
    "reshapes",
    "migrations",
    "wall_seconds",
    "peak_rss_mb",
}


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    file = tmp_path / "trace.csv"
    result = invoke("generate", str(file), "--jobs", "25", "--mean-interarrival", "200")
    assert result.exit_code == 0, result.output
    assert "25 jobs" in result.output
    return file


def test_generate_run_and_json(trace: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "out.json", tmp_path / "out.html"
    options = ("--overhead", "constant:30", "--json", str(out), "--html", str(page), "--check")
    result = invoke("run", str(trace), *CLUSTER, *options)
    assert result.exit_code == 0, result.output
    for label in ("jobs", "admitted", "in time", "ratio", "broken promises", "reshapes", "wall"):
        assert label in result.output
    numbers = json.loads(out.read_text())
    assert numbers.keys() >= WANTED
    assert numbers["jobs"] == 25
    assert numbers["broken_promises"] == 0
    assert page.read_text().startswith("<!doctype html>")


def test_json_to_standard_output_is_only_json(trace: Path) -> None:
    result = invoke("run", str(trace), *CLUSTER, "--policy", "slurm", "--json", "-")
    numbers = json.loads(result.stdout)
    assert numbers["policy"] == "slurm"
    assert numbers["broken_promises"] is None


def test_generate_to_standard_output_is_only_the_trace(tmp_path: Path) -> None:
    tables = tmp_path / "tables"
    result = invoke("generate", "-", "--jobs", "3", "--write-throughputs", str(tables))
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 4
    file = tmp_path / "t.csv"
    file.write_text(result.stdout)
    again = invoke("run", str(file), *CLUSTER, "--throughputs", str(tables))
    assert again.exit_code == 0, again.output


def test_compare_shows_all_policies(trace: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "out.json", tmp_path / "out.html"
    result = invoke(
        "compare", str(trace), *CLUSTER, "--json", str(out), "--html", str(page), "--processes", "1"
    )
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["policy", *POLICIES]
    assert [one["policy"] for one in json.loads(out.read_text())["results"]] == list(POLICIES)
    assert page.read_text().count('class="chart"') == len(POLICIES) + 2


def test_site_answers(tmp_path: Path) -> None:
    export = tmp_path / "history.txt"
    rows = [
        f"{n}|{1000 + n * 60}|{5000 + n * 60}|{9000 + n * 60}|UNLIMITED|gres/gpu=4"
        for n in range(6)
    ]
    export.write_text("\n".join(["JobID|Submit|Start|End|Timelimit|AllocTRES", *rows]) + "\n")
    out = tmp_path / "out.json"
    options = ("--deadline-factor", "2", "--processes", "1", "--json", str(out))
    result = invoke("site", str(export), *CLUSTER, *options)
    assert result.exit_code == 0, result.output
    assert "assumed: speed-up amdahl:0.02" in result.output
    for source in ("as recorded", "ef-slurm", "EDF", "plain Slurm"):
        assert source in result.output
    content = json.loads(out.read_text())
    assert [row["source"] for row in content["rows"]] == ["recorded", "elasticflow", "edf", "slurm"]


def test_rows_out_of_order_are_sorted_and_counted(trace: Path) -> None:
    header, *rows = trace.read_text().splitlines()
    trace.write_text("\n".join([header, *reversed(rows)]) + "\n")
    result = invoke("run", str(trace), *CLUSTER)
    assert result.exit_code == 0
    assert "24 rows out of order, sorted by submission" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--nodes", "0", "--gpus-per-node", "4"), "--nodes"),
        (("--nodes", "4", "--gpus-per-node", "6"), "a power of two"),
        (("--nodes", "4", "--gpus-per-node", "٤"), "a power of two"),
        (("--nodes", "4", "--gpus-per-node", "0"), "a power of two"),
        (("--nodes", "4"), "--gpus-per-node"),
        ((*CLUSTER, "--policy", "lottery"), "--policy"),
        ((*CLUSTER, "--overhead", "a lot"), "zero, constant:SECONDS, paper or KIND=SECONDS"),
    ],
)
def test_bad_options(trace: Path, options: tuple[str, ...], message: str) -> None:
    result = invoke("run", str(trace), *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_bad_lists_of_policies(trace: Path) -> None:
    result = invoke("compare", str(trace), *CLUSTER, "--policies", "edf,lottery")
    assert result.exit_code == 2
    assert "'lottery' is not a policy" in result.stderr


def test_bad_input_is_a_message_and_no_output(trace: Path, tmp_path: Path) -> None:
    trace.write_text(trace.read_text().replace("deadline", "dead"))
    out = tmp_path / "out.json"
    result = invoke("run", str(trace), *CLUSTER, "--json", str(out))
    assert result.exit_code == 1
    assert f"{trace}:1: column 'deadline': is missing" in result.stderr
    assert not out.exists()


def test_figures_are_checked_before_the_work(trace: Path) -> None:
    result = invoke("run", str(trace), *CLUSTER, "--png", "figure.gif")
    assert result.exit_code == 1
    assert "must end in .png, .svg, .pdf" in result.stderr


def test_files_that_cannot_be_written(trace: Path, tmp_path: Path) -> None:
    result = invoke("run", str(trace), *CLUSTER, "--json", str(tmp_path / "no" / "out.json"))
    assert result.exit_code == 1
    assert "cannot be written: there is no directory" in result.stderr
    assert not result.stdout  # refused before the work, not after it


def test_help_has_examples() -> None:
    for command in ((), ("run",), ("compare",), ("generate",), ("site",)):
        result = invoke(*command, "--help")
        assert result.exit_code == 0
        assert "ef-sim " in result.stdout


def test_compare_shows_both_rules_of_admission(tmp_path: Path) -> None:
    crowd, out = tmp_path / "crowd.csv", tmp_path / "out.json"
    made = invoke("generate", str(crowd), "--jobs", "80", "--mean-interarrival", "10")
    assert made.exit_code == 0, made.output
    both = ("--admission", "first-come", "--admission", "most-promises")
    options = ("--policies", "elasticflow,slurm", *both, "--json", str(out), "--check")
    result = invoke("compare", str(crowd), *CLUSTER, *options)
    assert result.exit_code == 0, result.output
    assert "elasticflow, most-promises" in result.output
    numbers = json.loads(out.read_text())["results"]
    found = [(one["policy"], one["admission"]) for one in numbers]
    assert found == [
        ("elasticflow", "first-come"),
        ("elasticflow", "most-promises"),
        ("slurm", None),
    ]
    first_come, priced, _ = numbers
    assert priced["met"] > first_come["met"]
    assert priced["broken_promises"] == first_come["broken_promises"] == 0


def test_compare_leaves_out_what_cannot_run_unless_asked_for(tmp_path: Path) -> None:
    trace = tmp_path / "t.csv"
    columns = "submission_time,num_iteration,model_name,deadline,batch_size"
    trace.write_text(f"{columns}\n0,100,bert,900,64\n")
    result = invoke("compare", str(trace), *CLUSTER, "--processes", "1")
    assert result.exit_code == 0, result.output
    rows = [line.split()[0] for line in result.stdout.splitlines()[1:]]
    assert rows == ["elasticflow", "edf", "edf-admission"]
    assert "note: slurm left out" in result.stderr
    asked = invoke("compare", str(trace), *CLUSTER, "--policies", "edf,slurm")
    assert asked.exit_code == 1
    assert "policy 'slurm' runs jobs at their requested size" in asked.stderr

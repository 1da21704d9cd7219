"""The contract: what is written is read back, and what is wrong is named."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.contract import (
    FIRST_PORT,
    PORTS,
    Action,
    Companion,
    ContractError,
    JobEnvironment,
    Launch,
    LaunchState,
    Order,
    Phase,
    Progress,
    StateDir,
    rendezvous_port,
)
from ef_slurm.contract.decode import one_line

ORDER = Order(generation=3, action=Action.STOP, issued_at=1.5, reason='for "job 7" and more')
PROGRESS = Progress(
    generation=3,
    phase=Phase.STOPPED,
    world_size=4,
    iteration=100,
    updated_at=12.0,
    started_at=10.0,
    checkpoint_iteration=100,
    stop_iteration=100,
    exit_code=75,
)
LAUNCH = Launch(
    generation=3,
    state=LaunchState.WAITING,
    slurm_job_id=17,
    restart_count=2,
    nodes="n1,n2",
    gpus_per_node=2,
    port=15275,
    started_at=1.0,
    updated_at=2.0,
)


COMPANION = Companion(generation=3, change=2, issued_at=1.5, slurm_job_id=18)


def test_nothing_written_reads_as_none(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    assert state.generation() == 0
    assert state.read_order() is None
    assert state.read_progress() is None
    assert state.read_launch() is None
    assert state.read_companion() is None


def test_round_trip(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.write_order(ORDER)
    state.write_progress(PROGRESS)
    state.write_launch(LAUNCH)
    state.write_companion(COMPANION)
    assert state.read_order() == ORDER
    assert state.read_progress() == PROGRESS
    assert state.read_launch() == LAUNCH
    assert state.read_companion() == COMPANION
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "companion.json",
        "launch.json",
        "order.json",
        "progress.json",
    ]


def test_one_key_per_line(tmp_path: Path) -> None:
    """The batch script reads these files with sed."""
    state = StateDir(tmp_path)
    state.write_order(ORDER)
    lines = state.order_file.read_text().splitlines()
    assert ' "action": "stop",' in lines
    assert ' "generation": 3,' in lines
    assert len(lines) == 13


@pytest.mark.parametrize("text", ["x" * 100_000, "学" * 30_000, "caf\udce9.txt", "two\nlines"])
def test_whatever_is_written_can_be_read(tmp_path: Path, text: str) -> None:
    """An error may quote a whole file: its job would end without a word to the daemon."""
    state = StateDir(tmp_path)
    state.write_progress(replace(PROGRESS, message=text, refusal=text, software=text))
    state.write_order(replace(ORDER, reason=text))
    progress, order = state.read_progress(), state.read_order()
    assert progress is not None
    assert order is not None
    shown = one_line(text)
    assert (progress.message, progress.refusal, order.reason) == (shown, shown, shown)


def test_files_of_an_older_version_lack_what_they_do_not_know(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.write_order(ORDER)
    state.write_progress(PROGRESS)
    for path, new in (
        (state.order_file, ("change", "nodes", "leave")),
        (state.progress_file, ("live", "change", "change_iteration", "nodes", "ready", "refusal")),
    ):
        values = json.loads(path.read_text())
        path.write_text(json.dumps({key: values[key] for key in values if key not in new}))
    assert state.read_order() == ORDER
    assert state.read_progress() == PROGRESS


def test_what_a_live_change_says_is_read_back(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    nodes = ",".join(f"node{i:04}" for i in range(1024))
    order = replace(ORDER, action=Action.RESIZE, change=2, nodes=nodes, gpus=8192, leave=True)
    progress = replace(PROGRESS, live=True, change=1, change_iteration=7, change_seconds=0.5)
    progress = replace(progress, nodes=nodes, ready="n1,n2", refused_change=2, refusal="too few")
    state.write_order(order)
    state.write_progress(progress)
    assert state.read_order() == order
    assert state.read_progress() == progress


@pytest.mark.parametrize(
    ("key", "value"),
    [("change", -1), ("change_seconds", 1e300), ("change_iteration", -1), ("refused_change", 1e9)],
)
def test_numbers_of_a_live_change_have_bounds(tmp_path: Path, key: str, value: float) -> None:
    state = StateDir(tmp_path)
    state.write_progress(PROGRESS)
    values = json.loads(state.progress_file.read_text()) | {key: value}
    state.progress_file.write_text(json.dumps(values))
    with pytest.raises(ContractError, match=f"progress.json: {key}: "):
        state.read_progress()


def test_failed_write_leaves_the_old_text(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.order_file.mkdir()
    with pytest.raises(IsADirectoryError):
        state.write_order(ORDER)
    assert [p.name for p in tmp_path.iterdir()] == ["order.json"]


def test_unknown_keys_are_ignored(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.write_order(ORDER)
    values = json.loads(state.order_file.read_text()) | {"colour": "red"}
    state.order_file.write_text(json.dumps(values))
    assert state.read_order() == ORDER


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "expected an object"),
        ("{}", "version None"),
        ('{"version": 2}', "version 2"),
        ('{"version": 1}', "without generation, action, issued_at"),
        ('{"version": 1, "generation": "x"}', "generation: 'x' is not of type int"),
        ('{"version": 1, "generation": true}', "generation: True is not of type int"),
        (
            '{"version": 1, "action": "go"}',
            "action: 'go' is none of none, stop, relaunch, prepare, resize",
        ),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, text: str, said: str) -> None:
    state = StateDir(tmp_path)
    state.order_file.write_text(text)
    with pytest.raises(ContractError, match=r"order\.json") as error:
        state.read_order()
    assert said in str(error.value)


def test_malformed_generation_is_named(tmp_path: Path) -> None:
    (tmp_path / "generation").write_text("two\n")
    with pytest.raises(ContractError, match="'two' is not an integer"):
        StateDir(tmp_path).generation()


@given(job=st.integers(1, 2**31), other=st.integers(1, 999), one=st.integers(1), two=st.integers(1))
def test_near_jobs_never_share_a_port(job: int, other: int, one: int, two: int) -> None:
    port = rendezvous_port(job, one)
    assert FIRST_PORT <= port < FIRST_PORT + PORTS
    assert {port, port + 1}.isdisjoint({(p := rendezvous_port(job + other, two)), p + 1})
    assert len({rendezvous_port(job, one + i) for i in range(8)}) == 8


def test_environment() -> None:
    assert JobEnvironment.read({}) == JobEnvironment()
    read = JobEnvironment.read(
        {
            "EF_STATE_DIR": "/s d",
            "EF_JOB_ID": "9",
            "EF_GENERATION": "2",
            "EF_GLOBAL_BATCH_SIZE": "64",
            "EF_ITERATIONS": "1000",
            "EF_DEADLINE": "1.5e9",
            "EF_MAX_BATCH_PER_GPU": "8",
        }
    )
    assert read.change == 0
    assert JobEnvironment.read({"EF_CHANGE": "2"}).change == 2
    assert read.state_dir == Path("/s d")
    assert (read.job_id, read.generation, read.global_batch_size) == (9, 2, 64)
    assert (read.iterations, read.deadline, read.max_batch_per_gpu) == (1000, 1.5e9, 8)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EF_GENERATION", "0"),
        ("EF_CHANGE", "0"),
        ("EF_GLOBAL_BATCH_SIZE", "many"),
        ("EF_DEADLINE", "tomorrow"),
    ],
)
def test_bad_environment_is_named(name: str, value: str) -> None:
    with pytest.raises(ContractError, match=f"{name}='{value}'"):
        JobEnvironment.read({name: value})

"""The campaign sees what must not be, and lays a broken promise to the fault that broke it."""

from __future__ import annotations

from pathlib import Path

from tests.campaign.ledger import Done, explain
from tests.campaign.observer import InSlurm
from tests.campaign.traces import Trace
from tests.cluster.daemon_bench import gpus_given_twice


def trace(directory: Path, *lines: str) -> Trace:
    path = directory / "campaign-c1.trace"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
    return Trace.read(path)


def test_a_life_with_a_restart_is_in_order(tmp_path: Path) -> None:
    life = trace(
        tmp_path,
        "start n1:7 1 0 100.0",
        "saved n1:7 1 30 102.0",
        "alive n1:7 1 45 104.0",
        "start n2:9 2 30 120.0",
        "finished n2:9 2 90 126.0",
        "alive n2:9 2",  # torn
    )
    assert (life.launches, life.has_finished, life.redone()) == (2, True, 15)
    assert not life.lost_checkpoints()
    assert not life.done_twice()
    assert life.gaps(90, 130) == [(104.0, 120.0, "n1"), (120.0, 126.0, "n2")]
    assert life.gaps(110, 115) == [(110, 115, "n1")]


def test_an_older_checkpoint_is_told(tmp_path: Path) -> None:
    life = trace(tmp_path, "saved n1:7 1 30 103", "saved n1:7 1 60 106", "start n1:8 2 30 120")
    assert life.lost_checkpoints() == ["generation 2 began at 30, and 60 had been saved"]


def test_two_that_live_at_once_are_told(tmp_path: Path) -> None:
    life = trace(
        tmp_path,
        "start n1:7 1 0 100",
        "start n2:9 2 0 110",
        "alive n1:7 1 50 113",
        "alive n2:9 2 50 114",
    )
    (told,) = life.done_twice()
    assert told == "generation 1 (n1:7) and 2 (n2:9) were both alive for 3.0 s"


def test_a_larger_launch_that_takes_over_is_no_second_one(tmp_path: Path) -> None:
    """It has the generation of the one before, and begins when that has stopped."""
    stopped = (
        "start n1:7 1 0 100",
        "alive n1:7 1 50 110",
        "saved n1:7 1 52 110.5",
        "stopped n1:7 1 52 110.6",
        "start n1:9 1 52 111",
    )
    assert not trace(tmp_path, *stopped, "alive n1:9 1 90 120").done_twice()
    (told,) = trace(tmp_path, *stopped, "alive n1:7 1 60 114", "alive n1:9 1 90 120").done_twice()
    assert told == "generation 1 (n1:7) and 1 (n1:9) were both alive for 3.0 s"


def test_a_companion_is_known_by_its_comment() -> None:
    line = "23 c10 RUNNING ef-slurm: companion of 20, launch 1, change 1"
    assert InSlurm.read(line) == InSlurm(23, "c10", "RUNNING", is_companion=True)
    assert InSlurm.read("20 c10 RUNNING (null)") == InSlurm(20, "c10", "RUNNING", False)
    assert InSlurm.read("20 c10 RUNNING") == InSlurm(20, "c10", "RUNNING", False)


def test_one_that_begins_after_the_end_is_told(tmp_path: Path) -> None:
    life = trace(tmp_path, "finished n1:7 1 90 126", "start n1:8 2 90 130")
    assert life.done_twice() == ["generation 2 began after 1 had finished"]


def test_nothing_is_known_of_a_job_that_never_trained(tmp_path: Path) -> None:
    life = Trace.read(tmp_path / "none")
    assert (life.launches, life.has_finished, life.redone(), life.gaps(0, 9)) == (0, False, 0, [])


def test_a_gap_is_laid_to_what_stopped_its_node() -> None:
    faults = [
        Done("daemon paused", "ctl", 95, 125),
        Done("node killed", "n2", 99, 103, ("n2",)),
        Done("node killed", "n1", 99, 101, ("n1",)),
    ]
    assert explain(faults, [(100, 120, "n1")], 50, 200) == ("node killed", 20.0)
    assert explain(faults, [(100, 120, "n3")], 50, 200) == ("daemon paused", 20.0)


def test_without_a_gap_it_is_what_was_longest_in_force() -> None:
    faults = [Done("slurmctld killed", "ctl", 60, 66), Done("daemon killed", "ctl", 70, 71)]
    assert explain(faults, [], 50, 200) == ("slurmctld killed", 6.0)
    assert explain(faults, [], 100, 200) == ("", 0.0)
    assert explain([], [(100, 120, "n1")], 50, 200) == ("", 0.0)


def test_gpus_of_two_running_jobs_are_compared() -> None:
    line = "JobId={0} JobState={1} Nodes=n[1-2] CPU_IDs=0 Mem=0 GRES=gpu:2(IDX:{2})"
    shown = [line.format(1, "RUNNING", "0-1"), line.format(2, "PENDING", "0-1")]
    assert not gpus_given_twice("\n".join(shown))
    shown.append(line.format(3, "RUNNING", "1-2"))
    assert gpus_given_twice("\n".join(shown)) == ["n1:1", "n2:1"]

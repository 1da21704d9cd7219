"""Companions: how a batch script submits one, and is one. Slurm's commands are played."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ef_slurm.contract import (
    Action,
    Companion,
    LaunchState,
    Order,
    companion_comment,
    read_companion_comment,
    rendezvous_port,
)
from tests.unit.launch.scripts import SCANCEL, Script, Start, await_file, end_group

SHOWN = """JobId=12 JobName=odd QOS=evil name
   UserId=me(1000) GroupId=me(1000) MCS_label=N/A
   Priority=1 Nice=0 Account=nlp QOS=long WCKey=*
   JobState=RUNNING Reason=None Dependency=(null)
   RunTime=00:10:00 TimeLimit=02:00:00 TimeMin=N/A
   StartTime=2026-01-01T00:00:00 EndTime={end} Deadline=N/A
   Partition=ef AllocNode:Sid=login:1
   ReqNodeList=(null) ExcNodeList=n[7-9]
   NodeList=n1
   MinCPUsNode=1 MinMemoryNode=0 MinTmpDiskNode=0
   Features=a100&ib DelayBoot=00:00:00
   Reservation=(null)
   Comment=mine Account=evil; ef-slurm: deadline 2026-11-26T18:00:00+01:00
   CpusPerTres=gres{colon}gpu:16
   MemPerTres=gres{colon}gpu:62500
"""
STEP = 'until [ -e enough ] || [ "$SECONDS" -gt 120 ]; do sleep 0.05; done'


def shown(fake: Path, colon: str = "/", seconds: float = 3600 + 30) -> None:
    end = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + seconds))
    (fake / "shown").write_text(SHOWN.format(end=end, colon=colon))


def until(there: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 60
    while not there():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def prepare(script: Script, issued_at: float, change: int = 1, generation: int = 1) -> None:
    order = Order(generation, Action.PREPARE, issued_at, 'it "grows"', change=change)
    script.state.write_order(order)


def answer(script: Script, issued_at: float) -> Companion:
    found: list[Companion] = []

    def there() -> bool:
        companion = script.state.read_companion()
        if companion is not None and companion.issued_at == issued_at:
            found.append(companion)
        return bool(found)

    until(there, f"no answer to {issued_at}: {script.log.read_text()}")
    return found[0]


def children(pid: int, word: str) -> list[int]:
    """Processes that one has started, with this in their command line."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(FileNotFoundError):
            if word in Path(f"/proc/{child}/cmdline").read_text():
                found.append(int(child))
    return found


def submissions(script: Script) -> int:
    file = script.fake / "submissions"
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_comment() -> None:
    whose = read_companion_comment(companion_comment(12, 3, 1))
    assert whose is not None
    assert (whose.job_id, whose.generation, whose.change) == (12, 3, 1)
    for text in ("", "x; " + companion_comment(12, 3, 1), companion_comment(12, 3, 1) + "0x"):
        assert read_companion_comment(text) is None


@pytest.mark.parametrize("colon", [":", "/"])
def test_a_companion_is_like_the_job_as_slurm_has_it_now(
    start: Start, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colon: str
) -> None:
    monkeypatch.setenv("MINE", "kept")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    shown(fake, colon)
    script = start(
        STEP,
        restart_count=2,
        sbatch_options=("--time=99", "--mail-type=ALL"),
        companion_options=("--hint=nomultithread", "--wckey=a b"),
    )
    script.until(LaunchState.RUNNING)
    prepare(script, 1764210000.123)
    assert answer(script, 1764210000.123) == Companion(1, 1, 1764210000.123, 100)
    options = (fake / "sbatch-options").read_text().splitlines()
    assert sorted(options) == sorted(
        [
            *("--parsable", "--hold", "--no-requeue", "--export=ALL", f"--chdir={tmp_path}"),
            *("--nodes=1", "--ntasks-per-node=1", "--gres=gpu:1", "--partition=ef"),
            *("--account=nlp", "--qos=long", "--constraint=a100&ib", "--exclude=n[7-9]"),
            *("--cpus-per-gpu=16", "--mem-per-gpu=62500M", "--time=60", "--open-mode=append"),
            *(f"--output={tmp_path}/log.companion", "--hint=nomultithread", "--wckey=a b"),
            "--comment=ef-slurm: companion of 12, launch 1, change 1",
        ]
    )
    lines = (fake / "sbatch-environment").read_text().splitlines()
    environment = dict(line.split("=", 1) for line in lines if "=" in line)
    assert environment["MINE"] == "kept"
    for name in ("EF_LAUNCH_SECRET", "EF_GENERATION", "CUDA_VISIBLE_DEVICES"):
        assert name not in environment
    assert [name for name in environment if name.startswith("SLURM")] == []
    text = (fake / "submitted").read_text()
    assert "\n#SBATCH" not in text
    assert "\nef_companion=(12 1 1)\n" in text
    (tmp_path / "enough").touch()
    assert script.end() == 0


def test_it_is_submitted_once(start: Start, fake: Path, tmp_path: Path) -> None:
    """Told again, or with a companion that Slurm has already; and anew where that has gone."""
    shown(fake)
    others = (companion_comment(12, 1, 10), companion_comment(112, 1, 1), "")
    (fake / "jobs").write_text("".join(f"{n} {text}\n" for n, text in enumerate(others, 1)))
    script = start(STEP)
    script.until(LaunchState.RUNNING)
    prepare(script, 5.0, generation=7)  # of another launch
    time.sleep(1.5)
    prepare(script, 10.0)
    assert answer(script, 10.0).slurm_job_id == 100
    prepare(script, 10.0)
    time.sleep(1.5)
    prepare(script, 11.0)
    assert answer(script, 11.0).slurm_job_id == 100
    assert submissions(script) == 1
    (fake / "jobs").write_text("")
    prepare(script, 12.0)
    assert answer(script, 12.0).slurm_job_id == 101
    prepare(script, 13.0, change=2)
    assert answer(script, 13.0) == Companion(1, 2, 13.0, 102)
    assert submissions(script) == 3
    # What is pending is of no use any more when the launch has ended.
    (tmp_path / "enough").touch()
    assert script.end() == 0
    assert (fake / "cancelled").read_text() == "--state=PENDING 101 102\n"
    assert not list(script.state.path.glob(".companion*"))


def test_whoever_was_killed_before_telling_finds_it_in_slurm(start: Start, fake: Path) -> None:
    shown(fake)
    script = start(STEP)
    script.until(LaunchState.RUNNING)
    (fake / "jobs").write_text(f"7 other\n77 {companion_comment(12, 1, 1)}\n")
    prepare(script, 10.0)
    assert answer(script, 10.0).slurm_job_id == 77
    assert submissions(script) == 0
    # A job that is killed leaves it to its next run.
    os.killpg(script.process.pid, signal.SIGKILL)
    script.process.wait()
    script = start("exit 0", restart_count=1)
    assert script.end() == 0
    assert (fake / "cancelled").read_text() == "--state=PENDING 77\n"


def test_slurms_words_are_told(start: Start, fake: Path, tmp_path: Path) -> None:
    shown(fake)
    (fake / "refusal").write_text('sbatch: error: \\ "QOSMaxSubmitJob\nPerUserLimit"\n')
    script = start(STEP)
    script.until(LaunchState.RUNNING)
    prepare(script, 10.0)
    found = answer(script, 10.0)
    assert found.slurm_job_id is None
    assert found.message.strip() == "sbatch: error: / 'QOSMaxSubmitJob PerUserLimit'"
    assert "no companion: sbatch: error" in script.log.read_text()
    (fake / "refusal").unlink()
    prepare(script, 11.0)
    assert answer(script, 11.0).slurm_job_id == 101
    (tmp_path / "enough").touch()
    assert script.end() == 0


@pytest.mark.parametrize("name", ["HUP", "USR1", "USR2", "INT"])
def test_signals_for_the_command_do_not_end_the_watching(
    start: Start, fake: Path, tmp_path: Path, name: str
) -> None:
    """`--signal=USR1` reaches every process, the stop signal too."""
    shown(fake)
    script = start(f"trap : HUP USR1 INT; {STEP}", node="n1")
    script.until(LaunchState.RUNNING)
    time.sleep(0.5)  # the watching has begun
    (watching,) = children(script.process.pid, "job.sh")
    os.kill(watching, getattr(signal, f"SIG{name}"))
    prepare(script, 10.0)
    assert answer(script, 10.0).slurm_job_id == 100
    (tmp_path / "enough").touch()
    assert script.end() == 0


def test_the_watching_ends_with_a_script_that_is_killed(start: Start, tmp_path: Path) -> None:
    script = start(f"touch there; {STEP}")
    await_file(tmp_path / "there")
    (watching,) = children(script.process.pid, "job.sh")
    script.process.kill()  # it alone
    script.process.wait()
    until(lambda: not is_there(watching), "it watches for nobody")


def is_there(pid: int) -> bool:
    """Whether a process goes on; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


Make = Callable[[str], tuple[Script, Callable[[], "subprocess.Popen[str]"]]]


@pytest.fixture
def companion(start: Start, fake: Path, tmp_path: Path) -> Iterator[Make]:
    """A job that trains, and what starts its companion as Slurm would."""
    begun: list[subprocess.Popen[str]] = []

    def make(command: str) -> tuple[Script, Callable[[], subprocess.Popen[str]]]:
        shown(fake)
        script = start(f'if [ -z "${{EF_CHANGE:-}}" ]; then {STEP}; else {command}; fi')
        script.until(LaunchState.RUNNING)
        prepare(script, 10.0)
        answer(script, 10.0)
        (fake / "others").write_text("RUNNING\n")
        shutil.copy(fake / "submitted", tmp_path / "companion.sh")

        def run() -> subprocess.Popen[str]:
            lines = (fake / "sbatch-environment").read_text().split("\n")
            environment = dict(line.split("=", 1) for line in lines if "=" in line)
            environment |= {
                "SLURM_JOB_ID": "100",
                "SLURM_JOB_NODELIST": "n3,n4",
                "SLURM_JOB_NUM_NODES": "2",
                "SLURM_GPUS_ON_NODE": "2",
                "SLURMD_NODENAME": "n3",
            }
            with (tmp_path / "log.companion").open("a") as log:
                process = subprocess.Popen(
                    ["bash", str(tmp_path / "companion.sh")],
                    env=environment,
                    stdout=log,
                    stderr=log,
                    cwd=tmp_path,
                    text=True,
                    start_new_session=True,
                )
            begun.append(process)
            return process

        return script, run

    yield make
    for process in begun:
        end_group(process)


def test_the_ranks_of_a_companion_know_whose_they_are(companion: Make, tmp_path: Path) -> None:
    script, run = companion('env | grep -E "^(EF|SLURM)_" | sort >env; echo "$@" >args; exit 0')
    before = script.launch()
    process = run()
    assert process.wait(timeout=60) == 0
    found = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    expected = {
        "EF_JOB_ID": "12",
        "EF_GENERATION": "1",
        "EF_CHANGE": "1",
        "EF_STATE_DIR": str(script.state.path),
        "EF_ORDER_FILE": str(script.state.order_file),
        "EF_NODES": "n3,n4",
        "EF_NUM_NODES": "2",
        "EF_NODE_RANK": "0",
        "EF_GPUS_PER_NODE": "2",
        "EF_MASTER_PORT": str(rendezvous_port(100, 1)),
        "SLURM_JOB_ID": "100",
    }
    assert {name: found.get(name) for name in expected} == expected
    assert "SLURM_RESTART_COUNT" not in found
    assert (tmp_path / "args").read_text() == "ü b\n"
    assert script.launch() == before
    assert script.state.generation() == 1
    assert (script.state.path / "job").read_text() == "12\n"
    (tmp_path / "enough").touch()
    assert script.end() == 0


def test_a_rank_that_fails_ends_it_with_its_code(companion: Make, tmp_path: Path) -> None:
    script, run = companion("exit 3")
    assert run().wait(timeout=60) == 3
    (tmp_path / "enough").touch()
    assert script.end() == 0


def test_term_reaches_the_ranks(companion: Make, tmp_path: Path) -> None:
    """Who leaves as agreed has not failed."""
    on_term = 'trap "touch left; exit 0" TERM'
    script, run = companion(f"{on_term}; touch there; while :; do sleep 0.1; done")
    process = run()
    await_file(tmp_path / "there")
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    assert (tmp_path / "left").exists()
    (tmp_path / "enough").touch()
    assert script.end() == 0


def test_the_watching_of_a_companion_ends_with_it(
    companion: Make, fake: Path, tmp_path: Path
) -> None:
    script, run = companion("touch there; exec sleep 60")
    process = run()
    await_file(tmp_path / "there")
    (watching,) = children(process.pid, "companion.sh")
    process.kill()
    process.wait()
    until(lambda: not is_there(watching), "it watches for nobody")
    assert script.process.poll() is None
    assert not (fake / "cancelled").exists()


@pytest.mark.parametrize("gone", ["launch", "job"])
def test_it_ends_with_its_launch(companion: Make, fake: Path, tmp_path: Path, gone: str) -> None:
    script, run = companion("touch there; exec sleep 60")
    if gone == "job":
        (fake / "others").write_text("PENDING\n")
    kill = 'case $1 in --signal*) kill -KILL -- -"$(cat "$FAKE/step")" ;; esac'
    (fake / "scancel").write_text(f"{SCANCEL}{kill}\n")
    process = run()
    await_file(tmp_path / "there")
    (step,) = children(process.pid, "srun")
    (task,) = children(step, "")
    (fake / "step").write_text(str(task))
    if gone == "launch":
        (tmp_path / "enough").touch()
        assert script.end() == 0
    assert process.wait(timeout=60) == 0
    assert "--signal=TERM 100" in (fake / "cancelled").read_text()
    assert "launch 1 of job 12 has ended" in (tmp_path / "log.companion").read_text()
    assert not list(script.state.path.glob(".gone*"))
    (tmp_path / "enough").touch()


def test_one_that_comes_too_late_begins_nothing(companion: Make, tmp_path: Path) -> None:
    script, run = companion("touch there")
    (tmp_path / "enough").touch()
    assert script.end() == 0
    assert run().wait(timeout=60) == 0
    assert not (tmp_path / "there").exists()
    assert "has ended before its companion began" in (tmp_path / "log.companion").read_text()

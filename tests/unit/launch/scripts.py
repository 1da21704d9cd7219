"""A batch script that runs on this host: Slurm's commands are played by small scripts."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ef_slurm.contract import Action, Launch, LaunchState, Order, Phase, Progress, StateDir
from ef_slurm.launch import LaunchRequest, render

# Runs what it is given on "this node", until TERM as srun does.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do
    echo "$1" >>"$FAKE/srun-options"
    [[ $1 == --cpus-per-task=* ]] && export SLURM_CPUS_PER_TASK=${1#*=}
    shift
done
[ "$1" = true ] && exit "$(cat "$FAKE/answers" 2>/dev/null || echo 0)"
set -m
# As slurmstepd does: what the batch script ignores, a task does not.
env --default-signal "$@" & pid=$!
set +m
trap 'kill -TERM -- -$pid' TERM
wait $pid; code=$?
while [ $code -gt 128 ] && kill -0 $pid 2>/dev/null; do wait $pid; code=$?; done
exit $code
"""
# The same on two nodes: when one fails it ends the other; its own code is the highest of both.
SRUN_ON_TWO = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
set -m
SLURMD_NODENAME=n1 "$@" & one=$!
SLURMD_NODENAME=n2 "$@" & two=$!
wait -n
kill -TERM -- -$one -$two
wait $one; code=$?
wait $two; other=$?
exit $((code > other ? code : other))
"""
# One task on each node of --nodelist, to the first failure; the first task has the input.
SRUN_ON_NODES = f"""#!{sys.executable}
import os, signal, subprocess, sys, time
words = sys.argv[1:]
options = []
while words[0].startswith("--"):
    options.append(words.pop(0))
place = os.environ["FAKE"] + "/srun-options"
with open(place, "a") as file:
    file.write(" ".join(options) + "\\n")
if words == ["true"]:
    sys.exit(0)
if "--overlap" in options and os.path.exists(os.environ["FAKE"] + "/no-step"):
    sys.exit("srun: error: Unable to create step")
nodes = next(o for o in options if o.startswith("--nodelist=")).partition("=")[2].split(",")
tasks = []
def end(*_):
    for task in tasks:
        if task.poll() is None:
            os.killpg(task.pid, signal.SIGTERM)
signal.signal(signal.SIGTERM, end)
for number, node in enumerate(nodes):
    tasks.append(subprocess.Popen(
        ["env", "--default-signal", *words], env=dict(os.environ, SLURMD_NODENAME=node),
        stdin=None if number == 0 else subprocess.DEVNULL, start_new_session=True))
ended = False
while any(task.poll() is None for task in tasks):
    time.sleep(0.02)
    if not ended and any(task.returncode for task in tasks):
        ended = True
        end()
sys.exit(max(code if code >= 0 else 128 - code for code in (t.returncode for t in tasks)))
"""
SCONTROL = """#!/bin/bash
case "$*" in
    "show hostnames "*) echo "$3" | tr , '\\n' ;;
    "show job "*) cat "$FAKE/shown" ;;
    *) echo "NodeName=x NodeAddr=127.0.0.9 Port=1" ;;
esac
"""
SQUEUE = """#!/bin/bash
case "$*" in
    *--format=%i*) [ ! -e "$FAKE/silent" ] && cat "$FAKE/jobs" 2>/dev/null
        exit "$([ -e "$FAKE/silent" ] && echo 1 || echo 0)" ;;
    *--format=%T*) cat "$FAKE/others" 2>/dev/null && exit
        echo "slurm_load_jobs error: Invalid job id specified" >&2
        exit 1 ;;
esac
cat "$FAKE/nodes"
"""
# Notes what it is given, and has a job that squeue shows; or says what is in the file `refusal`.
SBATCH = """#!/bin/bash
printf '%s\\n' "$@" >"$FAKE/sbatch-options"
env >"$FAKE/sbatch-environment"
cat >"$FAKE/submitted"
echo >>"$FAKE/submissions"
cat "$FAKE/refusal" >&2 2>/dev/null && exit 1
id=$((99 + $(wc -l <"$FAKE/submissions")))
for option; do
    [[ $option == --comment=* ]] && echo "$id ${option#*=}" >>"$FAKE/jobs"
done
echo "$id"
"""
SCANCEL = """#!/bin/bash
echo "$*" >>"$FAKE/cancelled"
"""


@dataclass
class Script:
    """A batch script that runs, and its state directory."""

    process: subprocess.Popen[str]
    state: StateDir
    log: Path
    fake: Path

    def launch(self) -> Launch | None:
        return self.state.read_launch()

    def until(self, state: LaunchState, generation: int = 1) -> Launch:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            launch = self.launch()
            if launch and (launch.state, launch.generation) == (state, generation):
                return launch
            time.sleep(0.02)
        raise AssertionError(f"never {state} {generation}: {self.launch()}\n{self.log.read_text()}")

    def end(self) -> int:
        return self.process.wait(timeout=60)

    def order(self, action: Action, generation: int = 1, gpus: int | None = None) -> None:
        self.state.write_order(Order(generation, action, time.time(), "test", gpus))

    def steps(self) -> list[set[str]]:
        """What srun was told for each step."""
        text = (self.fake / "srun-options").read_text()
        starts = text.split("--kill-on-bad-exit=1")
        return [set(step.split()) for step in starts[:-1]]

    def report(self, phase: Phase, **changes: object) -> None:
        launch = self.launch()
        assert launch is not None
        progress = Progress(launch.generation, phase, 1, 0, time.time(), time.time())
        self.state.write_progress(replace(progress, **changes))  # type: ignore[arg-type]


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    """Slurm's commands, and what they were asked."""
    fake = tmp_path / "fake"
    fake.mkdir()
    commands = {"srun": SRUN, "scontrol": SCONTROL, "squeue": SQUEUE}
    for name, text in {**commands, "sbatch": SBATCH, "scancel": SCANCEL}.items():
        (fake / name).write_text(text)
        (fake / name).chmod(0o755)
    (fake / "nodes").write_text("n1\n")
    return fake


def _ignore_no_signal() -> None:
    """As slurmstepd starts it: a shell's background job, as these tests may be, ignores some."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def end_group(process: "subprocess.Popen[str]") -> None:
    """End a script that leads a group, and what it has left there where it has ended already."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def start(tmp_path: Path, fake: Path) -> Iterator[Callable[..., Script]]:
    running: list[Script] = []

    def begin(
        command: str,
        restart_count: int | None = None,
        cpus: int = 0,
        node: str = "n2",
        words: tuple[str, ...] = (),
        **options: object,
    ) -> Script:
        values: dict[str, object] = {
            "command": words or ("/bin/bash", "-c", command, "it's", "ü b"),
            "state_dir": f"{tmp_path}/st ate's/12",
            "order_file": f"{tmp_path}/or ders/12/order.json",
            "iterations": 10,
            "global_batch_size": 4,
            "torchrun": False,
        }
        request = LaunchRequest(**{**values, **options})  # type: ignore[arg-type]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("EF_", "SLURM_"))}
        environment |= {
            "PATH": f"{fake}:{os.environ['PATH']}",
            "FAKE": str(fake),
            "SLURM_JOB_ID": "12",
            "SLURM_JOB_NODELIST": "n1,n2",
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_GPUS_ON_NODE": "2",
            "SLURM_NTASKS": "64",
            "SBATCH_PARTITION": "foreign",
            "SLURMD_NODENAME": node,
        }
        if cpus:
            environment["SLURM_CPUS_ON_NODE"] = str(cpus)
        if restart_count is not None:
            environment["SLURM_RESTART_COUNT"] = str(restart_count)
        orders = tmp_path / "or ders" / "12"
        orders.mkdir(parents=True, exist_ok=True)
        log = tmp_path / "log"
        script = tmp_path / "job.sh"
        script.write_text(render(request))
        with log.open("a") as file:
            process = subprocess.Popen(
                ["bash", str(script)],
                env=environment,
                stdout=file,
                stderr=file,
                cwd=tmp_path,
                text=True,
                start_new_session=True,
                preexec_fn=_ignore_no_signal,
            )
        state = StateDir(tmp_path / "st ate's" / "12", orders / "order.json")
        running.append(Script(process, state, log, fake))
        return running[-1]

    yield begin
    for script in running:
        end_group(script.process)


Start = Callable[..., Script]


def await_file(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.02)

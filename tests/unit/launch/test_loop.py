"""The batch script against the contract. Slurm's commands are played by small scripts; the daemon,
by the test; the rest is the real script in a real shell."""

import os
import signal
import time
from pathlib import Path

import pytest

from ef_slurm.contract import (
    Action,
    LaunchState,
    Order,
    Phase,
    StateDir,
    rendezvous_port,
)
from ef_slurm.model import ContainerRuntime, LaunchSettings, StopSignal
from tests.unit.launch.scripts import SRUN_ON_TWO, Start, await_file


def test_environment_and_arguments(start: Start, tmp_path: Path) -> None:
    script = start(
        'env | grep -E "^(EF|SLURM|SBATCH)_" | sort >env; printf "%s\\n" "$0" "$@" >args',
        deadline=1767225600.5,
        max_batch_per_gpu=3,
    )
    assert script.end() == 0
    assert (tmp_path / "args").read_text() == "it's\nü b\n"
    found = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    expected = {
        "EF_JOB_ID": "12",
        "EF_GENERATION": "1",
        "EF_STATE_DIR": str(script.state.path),
        "EF_ORDER_FILE": str(script.state.order_file),
        "EF_GLOBAL_BATCH_SIZE": "4",
        "EF_ITERATIONS": "10",
        "EF_DEADLINE": "1767225600.5",
        "EF_NUM_NODES": "2",
        "EF_GPUS_PER_NODE": "2",
        "EF_NODES": "n1,n2",
        "EF_NODE_RANK": "1",
        "EF_MASTER_ADDR": "127.0.0.9",
        "EF_MASTER_PORT": str(rendezvous_port(12, 1)),
        "EF_STOP_SIGNAL": "USR2",
        "EF_MAX_BATCH_PER_GPU": "3",
    }
    assert {name: found.get(name) for name in expected} == expected
    assert "SLURM_NTASKS" not in found
    assert "SBATCH_PARTITION" not in found
    options = (script.fake / "srun-options").read_text().split()
    assert {"--nodes=2", "--ntasks=2", "--kill-on-bad-exit=1", "--gres=gpu:2"} <= set(options)


def test_settings_of_slurms_commands_are_the_commands_alone(
    start: Start, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQUEUE_FORMAT", "it's %i\n$(touch x)")
    monkeypatch.setenv("SCANCEL_INTERACTIVE", "")
    asked = (fake / "squeue").read_text().removeprefix("#!/bin/bash\n")
    (fake / "squeue").write_text(f'#!/bin/bash\nenv >>"$FAKE/asked"\n{asked}')
    script = start('printf %s "$SQUEUE_FORMAT${SCANCEL_INTERACTIVE-unset}" >formats; exit 1')
    script.until(LaunchState.RETRYING)
    assert (tmp_path / "formats").read_text() == "it's %i\n$(touch x)"
    names = {line.partition("=")[0] for line in (fake / "asked").read_text().splitlines()}
    assert not names & {"SQUEUE_FORMAT", "SCANCEL_INTERACTIVE"}


def test_command_that_never_checks_in_finishes(start: Start) -> None:
    script = start("exit 0")
    assert script.end() == 0
    launch = script.until(LaunchState.FINISHED)
    assert launch.exit_code == 0
    assert script.state.generation() == 1
    assert "without ever reporting progress" in script.log.read_text()


@pytest.mark.parametrize("how", ["SHELLOPTS", "BASH_ENV", "activate"])
def test_a_shell_that_is_to_end_at_any_failure_does_not(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """`set -e` of its owner's environment, or of what sets up theirs, is not about our script."""
    errexit = tmp_path / "bin" / "activate"
    errexit.parent.mkdir()
    errexit.write_text("set -e\n" if how != "SHELLOPTS" else "")
    if how == "SHELLOPTS":
        monkeypatch.setenv(how, "braceexpand:errexit:hashall:interactive-comments:pipefail")
    elif how == "BASH_ENV":
        monkeypatch.setenv(how, str(errexit))
    settings = LaunchSettings(venv=tmp_path if how == "activate" else None)
    script = start('[ "$EF_GENERATION" = 1 ] && exit 3; exit 0', settings=settings)
    assert script.end() == 0, script.log.read_text()
    assert script.until(LaunchState.FINISHED, 2).failures == 1
    assert "failed with exit code 3" in script.log.read_text()


def test_log_and_generation_go_on_over_requeues(start: Start) -> None:
    start("exit 0").end()
    script = start("exit 0", restart_count=3)
    script.end()
    assert script.until(LaunchState.FINISHED, 2).restart_count == 3
    assert script.log.read_text().count("ef-slurm: launch") == 2


def test_it_says_whether_it_finds_orders(start: Start) -> None:
    """An older script reads them elsewhere, and so does one of another configuration."""
    script = start("exit 0")
    script.end()
    assert not script.until(LaunchState.FINISHED).finds_orders
    script.order(Action.NONE)
    script = start("exit 0")
    script.end()
    assert script.until(LaunchState.FINISHED, 2).finds_orders
    assert not (script.state.path / "order.json").exists()


def test_stopped_waits_and_is_relaunched_on_what_is_left(start: Start) -> None:
    script = start('[ "$EF_GENERATION" = 1 ] && sleep 1 && exit 75; exit 0')
    script.order(Action.STOP)
    launch = script.until(LaunchState.WAITING)
    assert (launch.exit_code, launch.nodes, launch.failures) == (75, "n1,n2", 0)
    # Neither means this launch, and the script must never see half of each.
    for order in (Order(9, Action.RELAUNCH, 0.0), Order(1, Action.STOP, 0.0)) * 30:
        script.state.write_order(order)
        time.sleep(0.03)
    assert script.launch() == launch
    script.state.write_order(Order(1, Action.RELAUNCH, 0.0, "test"))
    assert script.end() == 0
    assert script.until(LaunchState.FINISHED, 2).nodes == "n1"


ON_TWO_NODES = """
part=$EF_NUM_NODES:$EF_GPUS_PER_NODE:$EF_NODES
echo "$EF_GENERATION:$part:$EF_NODE_RANK:$OMP_NUM_THREADS" >>launches
[ "$EF_GENERATION" = 5 ] && exit 0
while ! grep -q "generation.: $EF_GENERATION," "$EF_ORDER_FILE" 2>/dev/null; do sleep 0.05; done
exit 75
"""


def test_sizes_change_inside_the_allocation(start: Start, tmp_path: Path) -> None:
    """Two nodes of 2 GPUs and 8 CPUs: 4, 1, 2, 4 and then again all GPUs, without Slurm."""
    script = start(ON_TWO_NODES, cpus=8)
    (script.fake / "nodes").write_text("n1,n2\n")
    for generation, gpus in enumerate((1, 2, 4, None), start=1):
        launch = script.until(LaunchState.RUNNING, generation)
        assert launch.restart_count == 0
        script.order(Action.RELAUNCH, generation, gpus)
    assert script.end() == 0
    assert (tmp_path / "launches").read_text().split() == [
        "1:2:2:n1,n2:1:4",
        "2:1:1:n1:1:4",  # the fake srun is on n2; half of the 8 CPUs go with one of 2 GPUs
        "3:1:2:n1:1:4",
        "4:2:2:n1,n2:1:4",
        "5:2:2:n1,n2:1:4",
    ]
    final = script.until(LaunchState.FINISHED, 5)
    assert (final.nodes, final.gpus_per_node, final.failures) == ("n1,n2", 2, 0)
    whole, one, node, *_ = script.steps()
    assert {"--nodes=2", "--ntasks=2", "--nodelist=n1,n2", "--gres=gpu:2"} <= whole
    assert {"--nodes=1", "--ntasks=1", "--nodelist=n1", "--gres=gpu:1"} <= one
    assert {"--exact", "--cpus-per-task=4"} <= one
    assert {"--nodes=1", "--nodelist=n1", "--gres=gpu:2"} <= node
    assert "--exact" not in whole | node


def test_a_job_that_waits_is_relaunched_at_a_size(start: Start) -> None:
    script = start('[ "$EF_GENERATION" = 1 ] && sleep 1 && exit 75; exit 0')
    script.order(Action.STOP)
    script.until(LaunchState.WAITING)
    script.order(Action.RELAUNCH, gpus=1)
    assert script.end() == 0
    launch = script.until(LaunchState.FINISHED, 2)
    assert (launch.nodes, launch.gpus_per_node) == ("n1", 1)


@pytest.mark.parametrize("gpus", [3, 8, -1])
def test_a_size_that_the_allocation_has_not_is_said(start: Start, gpus: int) -> None:
    script = start('[ "$EF_GENERATION" = 1 ] && sleep 1 && exit 75; exit 0')
    (script.fake / "nodes").write_text("n1,n2\n")
    script.order(Action.RELAUNCH, gpus=gpus)
    assert script.end() == 0
    launch = script.until(LaunchState.FINISHED, 2)
    assert (launch.nodes, launch.gpus_per_node) == ("n1,n2", 2)
    said = f"{gpus} is no part of 2 nodes with 2 GPUs each" in script.log.read_text()
    assert said is (gpus > 0)


def test_a_part_on_which_the_training_fails_is_not_tried_again(start: Start) -> None:
    """One GPU may have too little memory: that is no failure of the job."""
    script = start("case $EF_GENERATION in 1) sleep 1; exit 75 ;; 2) exit 3 ;; esac")
    (script.fake / "nodes").write_text("n1,n2\n")
    script.order(Action.RELAUNCH, gpus=1)
    failed = script.until(LaunchState.RETRYING, 2)
    assert (failed.nodes, failed.gpus_per_node, failed.failures) == ("n1", 1, 0)
    assert script.end() == 0
    launch = script.until(LaunchState.FINISHED, 3)
    assert (launch.nodes, launch.gpus_per_node) == ("n1,n2", 2)
    assert "not again on 1 of its GPUs" in script.log.read_text()


def test_a_run_may_begin_on_a_part(start: Start) -> None:
    begun = start("exit 0")
    assert begun.end() == 0
    begun.order(Action.RELAUNCH, 1, gpus=1)  # for the launch after the first: of another run
    script = start("exit 0", restart_count=1)
    assert script.end() == 0
    launch = script.until(LaunchState.FINISHED, 2)
    assert (launch.nodes, launch.gpus_per_node) == ("n1", 1)


def test_killed_at_a_size_it_comes_back_with_all_it_has(start: Start) -> None:
    """Whatever Slurm gives the job anew is its own to use; the daemon says what is next."""
    script = start("[ $EF_GENERATION = 1 ] && sleep 1 && exit 75; sleep 60")
    script.order(Action.RELAUNCH, gpus=1)
    script.until(LaunchState.RUNNING, 2)
    os.killpg(script.process.pid, signal.SIGKILL)
    script.process.wait()
    script = start("exit 0", restart_count=1)
    assert script.end() == 0
    launch = script.until(LaunchState.FINISHED, 3)
    assert (launch.nodes, launch.gpus_per_node) == ("n1,n2", 2)


def test_stopped_under_torchrun_is_told_by_progress(start: Start) -> None:
    script = start("sleep 2")
    script.until(LaunchState.RUNNING)
    script.order(Action.STOP)
    script.report(Phase.STOPPED, exit_code=75, stop_iteration=5, checkpoint_iteration=5)
    assert script.until(LaunchState.WAITING).exit_code == 75


def test_stopped_without_a_checkpoint_waits_too(start: Start) -> None:
    script = start("sleep 2; exit 74")
    script.until(LaunchState.RUNNING)
    script.order(Action.STOP)
    script.report(Phase.FAILED, exit_code=74, stop_iteration=5)
    assert script.until(LaunchState.WAITING).exit_code == 74


def test_without_a_decision_it_goes_on(start: Start) -> None:
    script = start(
        '[ "$EF_GENERATION" = 1 ] && sleep 1 && exit 75; exit 0',
        settings=LaunchSettings(decision_wait=1),
    )
    script.order(Action.STOP)
    assert script.end() == 0
    assert "no decision for 1 s" in script.log.read_text()


def test_stopped_without_an_order_is_launched_again(start: Start) -> None:
    """srun sends TERM to what is left when one process dies: it saves, and goes on at once."""
    script = start('[ "$EF_GENERATION" = 1 ] && exit 75; exit 0')
    assert script.until(LaunchState.RETRYING).exit_code == 75
    assert script.end() == 0


def test_unusable_is_not_tried_again(start: Start) -> None:
    script = start("sleep 1; exit 1")
    script.until(LaunchState.RUNNING)
    script.report(Phase.FAILED, exit_code=78, message='a "quoted" reason')
    assert script.end() == 78
    assert script.until(LaunchState.FAILED).exit_code == 78


def test_failures_without_progress_end_the_job(start: Start) -> None:
    script = start("exit 3")
    assert script.end() == 3
    launch = script.until(LaunchState.FAILED, 3)
    assert (launch.failures, launch.exit_code) == (3, 3)
    assert "given up: 3 launches failed without progress" in script.log.read_text()


def test_failures_are_counted_over_requeues(start: Start) -> None:
    script = start("exit 3")
    script.until(LaunchState.RETRYING, 2)
    os.killpg(script.process.pid, signal.SIGKILL)
    script.process.wait()
    script = start("exit 3")
    assert script.end() == 3
    assert script.until(LaunchState.FAILED, 3).failures == 3


def test_progress_forgives_failures(start: Start) -> None:
    script = start("sleep 0.7; [ $EF_GENERATION = 4 ] || exit 3")
    for generation in (1, 2, 3):
        script.until(LaunchState.RUNNING, generation)
        script.report(Phase.RUNNING, checkpoint_iteration=10 * generation)
        assert script.until(LaunchState.RETRYING, generation).failures == 1
    assert script.end() == 0


def test_a_silent_node_is_not_the_commands_failure(start: Start) -> None:
    script = start("exit 3")
    (script.fake / "answers").write_text("1")
    assert script.until(LaunchState.RETRYING).failures == 0
    assert "a node does not answer" in script.log.read_text()


def test_term_lets_the_step_end_by_itself(start: Start, tmp_path: Path) -> None:
    """Slurm sends it to every process of the batch step; what the launch saves then counts."""
    script = start(
        'trap "sleep 1; touch saved; exit 75" TERM; touch ready; while :; do sleep 0.1; done'
    )
    script.until(LaunchState.RUNNING)
    await_file(tmp_path / "ready")
    os.killpg(script.process.pid, signal.SIGTERM)
    launch = script.until(LaunchState.INTERRUPTED)
    assert (tmp_path / "saved").exists(), "reported as interrupted before the step had ended"
    assert (launch.exit_code, launch.failures) == (143, 0)
    assert script.end() == 143
    assert "failed with exit code" not in script.log.read_text()
    assert not list(script.state.path.glob(".exit*"))


def test_term_while_waiting(start: Start) -> None:
    script = start("sleep 1; exit 75")
    script.order(Action.STOP)
    script.until(LaunchState.WAITING)
    os.kill(script.process.pid, signal.SIGTERM)
    assert script.end() == 143
    script.until(LaunchState.INTERRUPTED)


@pytest.mark.parametrize("name", StopSignal)
def test_stop_signal_harms_nobody(start: Start, tmp_path: Path, name: StopSignal) -> None:
    """Neither the batch script nor the command, which inherits nothing from it."""
    script = start(
        "echo $$ >pid; mv pid task; for i in 1 2 3 4 5; do sleep 0.3; done",
        settings=LaunchSettings(stop_signal=name),
    )
    assert script.until(LaunchState.RUNNING).stop_signal == name.value
    await_file(tmp_path / "task")
    number = getattr(signal, f"SIG{name.value}")
    os.killpg(script.process.pid, number)
    os.kill(int((tmp_path / "task").read_text()), number)
    assert script.end() == 0


@pytest.mark.parametrize("name", ["USR1", "HUP", "INT", "QUIT", "ALRM"])
def test_a_signal_before_the_end_is_the_commands(start: Start, tmp_path: Path, name: str) -> None:
    """Sent to all processes (`--signal=USR1`) and to the batch shell alone (`--signal=B:USR1`)."""
    child = "import time, pathlib; pathlib.Path('ready').touch(); time.sleep(60)"
    script = start(
        f'trap "echo got >>told" {name}; python3 -c "{child}" & pid=$!; '
        "until [ -e enough ] || [ $SECONDS -gt 120 ]; do wait $pid; sleep 0.05; done; "
        "kill $pid || echo gone >lost",
        node="n1",
    )
    script.until(LaunchState.RUNNING)
    await_file(tmp_path / "ready")
    number = getattr(signal, f"SIG{name}")
    os.kill(script.process.pid, number)
    await_file(tmp_path / "told")
    (tmp_path / "enough").touch()
    assert script.end() == 0
    assert (tmp_path / "told").read_text() == "got\n"
    assert not (tmp_path / "lost").exists(), "the training got it too"
    assert not list(script.state.path.glob(".shell*"))
    assert script.until(LaunchState.FINISHED).generation == 1


def test_what_every_process_of_the_step_gets_ends_none_of_ours(
    start: Start, tmp_path: Path
) -> None:
    script = start(
        'trap "touch told" USR1; echo "$PPID" >shell; mv shell ready; '
        "until [ -e told ] || [ $SECONDS -gt 120 ]; do sleep 0.05; done",
        node="n1",
    )
    await_file(tmp_path / "ready")
    # The command's own shell, and the one of ours that started it.
    shell = int((tmp_path / "ready").read_text())
    children = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
    for process in (shell, *map(int, children)):
        os.kill(process, signal.SIGUSR1)
    assert script.end() == 0
    assert script.until(LaunchState.FINISHED).generation == 1


# Tools that read variables which nobody set, as conda's and module's own scripts do.
MODULE = '() { echo "module $* $EF_NOT_SET" >>"$FAKE/tools"; [ "$2" != none ]; }'
CONDA = """#!/bin/bash
echo 'conda() { echo "conda $* $EF_NOT_SET" >>"$FAKE/tools"; [ "$2" != none ]; }'
"""
ACTIVATE = 'echo "$EF_NOT_SET"; VIA=venv; export VIA'
# Like the real one: what the image sets wins, unless APPTAINERENV_ says otherwise.
APPTAINER = """#!/bin/bash
printf '%s|' "$@" >>"$FAKE/tools"
while [ "$1" != "my torch.sif" ]; do shift; done
shift
NOTE=$APPTAINERENV_NOTE exec "$@"
"""


@pytest.fixture
def tools(fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What module, conda and apptainer were asked, one call per line."""
    monkeypatch.delenv("CONDA_EXE", raising=False)
    monkeypatch.setenv("BASH_FUNC_module%%", MODULE)
    for name, text in (("conda", CONDA), ("apptainer", APPTAINER)):
        (fake / name).write_text(text)
        (fake / name).chmod(0o755)
    (tmp_path / "my venv" / "bin").mkdir(parents=True)
    (tmp_path / "my venv" / "bin" / "activate").write_text(ACTIVATE)
    calls = fake / "tools"
    calls.touch()
    return calls


def test_modules_conda_and_variables(start: Start, tools: Path, tmp_path: Path) -> None:
    settings = LaunchSettings(
        modules=("cuda/12.4", "it's"),
        conda_env="my env",
        environment={
            "NOTE": "it's\n$(date)",
            "PATH": "/no tools here",
            "OMP_NUM_THREADS": "3",
            "name": "n",
        },
    )
    script = start(
        'printf "%s|" "$NOTE" "$PATH" "$OMP_NUM_THREADS" "$name" >note; echo "${!EF_SET_@}" >left',
        settings=settings,
    )
    assert script.end() == 0, script.log.read_text()
    assert tools.read_text().splitlines() == [
        "module purge ",
        "module load cuda/12.4 ",
        "module load it's ",
        "conda activate my env ",
    ]
    assert (tmp_path / "note").read_text() == "it's\n$(date)|/no tools here|3|n|"
    assert (tmp_path / "left").read_text() == "\n"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (LaunchSettings(modules=("none",)), "the module none cannot be loaded"),
        (LaunchSettings(conda_env="none"), "the conda environment none cannot be used"),
        (LaunchSettings(venv=Path("/no such")), "the virtual environment /no such cannot be used"),
    ],
)
def test_what_cannot_be_set_up_ends_the_job(
    start: Start, tools: Path, settings: LaunchSettings, message: str
) -> None:
    script = start("exit 0", settings=settings)
    assert script.end() == 78
    assert f"ef-slurm: {message}" in script.log.read_text()
    assert "launch 1" not in script.log.read_text(), tools.read_text()


@pytest.mark.parametrize(
    "word", ["-G1", "--gpus=1", "--gpus-per-n=1", "--gres=gpu:1", "--tres-per-task=x"]
)
def test_a_template_whose_srun_would_ask_for_gpus_twice_ends_the_job(
    start: Start, tmp_path: Path, word: str
) -> None:
    """srun of 26.05 takes one word about GPUs; those about how they are used are no second one."""
    ours = '{% extends "default/torchrun.sbatch.j2" %}{% block srun_options %}{{ super() }}'
    template = tmp_path / "site.j2"
    template.write_text(f"{ours}--gpu-bind=none --gres-flags=x\n{{% endblock %}}")
    assert start("exit 0", settings=LaunchSettings(template=template)).end() == 0
    template.write_text(f'{ours}$(echo "{word}")\n{{% endblock %}}')
    script = start("exit 0", settings=LaunchSettings(template=template))
    assert script.end() == 78
    assert f"the template's {word} has to go" in script.log.read_text()


@pytest.mark.usefixtures("tools")
def test_a_virtual_environment(start: Start, tmp_path: Path) -> None:
    script = start('echo "$VIA" >via', settings=LaunchSettings(venv=tmp_path / "my venv"))
    assert script.end() == 0, script.log.read_text()
    assert (tmp_path / "via").read_text() == "venv\n"


def test_apptainer_gets_image_mounts_and_variables(
    start: Start, tools: Path, tmp_path: Path
) -> None:
    settings = LaunchSettings(
        container_runtime=ContainerRuntime.APPTAINER,
        container_image="my torch.sif",
        container_mounts=("/data:/d:ro",),
        environment={"NOTE": "it's"},
        srun_options=("--mpi=none",),
    )
    script = start('echo "$NOTE" >note', settings=settings)
    assert script.end() == 0, script.log.read_text()
    state, orders = script.state.path, script.state.order_file.parent
    before = (
        f"exec|--nv|--bind|{state}|--bind|{orders}:{orders}:ro|--bind|{tmp_path}|--bind|/data:/d:ro|"
        "my torch.sif|/bin/bash|-c|"
    )
    assert tools.read_text().startswith(before)
    assert (tmp_path / "note").read_text() == "it's\n"
    assert "--mpi=none" in (script.fake / "srun-options").read_text().splitlines()


@pytest.fixture
def quick(fake: Path) -> None:
    """Whoever waits for a disk looks again at once."""
    sleep = fake / "sleep"
    sleep.write_text("#!/bin/sh\nexit 0\n")
    sleep.chmod(0o755)


@pytest.mark.usefixtures("quick")
def test_state_directory_that_cannot_be_made(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    script = start("exit 0", state_dir=f"{tmp_path}/file/x")
    assert script.end() == 78
    assert "cannot be made" in script.log.read_text()


def test_a_finished_training_is_not_done_again(start: Start) -> None:
    """A node died when it was complete, before its script had ended; Slurm took the job back."""
    script = start("sleep 60")
    script.until(LaunchState.RUNNING)
    script.report(Phase.FINISHED, iteration=10, exit_code=0)
    script.process.kill()
    script.end()
    again = start("exit 9", restart_count=1)
    assert again.end() == 0
    assert "had finished the training" in again.log.read_text()
    assert again.state.generation() == 1


def test_one_that_is_to_train_more_goes_on(start: Start) -> None:
    script = start("sleep 60")
    script.until(LaunchState.RUNNING)
    script.report(Phase.FINISHED, iteration=9, exit_code=0)
    script.process.kill()
    script.end()
    again = start("exit 0", restart_count=1)
    assert again.end() == 0
    assert again.state.generation() == 2


def test_a_disk_that_is_away_is_waited_for(start: Start, tmp_path: Path) -> None:
    place = tmp_path / "mounted"
    place.write_text("")
    script = start("exit 0", state_dir=f"{place}/x")
    wait_for_words(script.log, "waiting for the disk")
    place.unlink()
    place.mkdir()
    assert script.end() == 0
    assert StateDir(place / "x").generation() == 1


def test_a_launch_that_cannot_be_counted_waits_and_counts_on(start: Start) -> None:
    """It never begins from 1 again because the number before cannot be read."""
    start("exit 0").end()
    script = start("exit 0")
    script.end()
    number = script.state.generation_file
    number.rename(number.with_name("away"))
    number.mkdir()
    script = start("exit 0", restart_count=2)
    wait_for_words(script.log, "waiting for the disk")
    number.rmdir()
    number.with_name("away").rename(number)
    assert script.end() == 0
    assert script.state.generation() == 3


def wait_for_words(log: Path, words: str) -> None:
    end = time.monotonic() + 60
    while not (log.exists() and words in log.read_text()):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_first_to_fail_says_why(start: Start, tmp_path: Path) -> None:
    """Not the one that is ended for its sake."""
    fake = tmp_path / "fake" / "srun"
    fake.write_text(SRUN_ON_TWO)
    script = start('if [ "$EF_NODE_RANK" = 1 ]; then exit 78; fi; sleep 60')
    assert script.end() == 78
    launch = script.until(LaunchState.FAILED)
    assert launch.exit_code == 78
    assert not list(script.state.path.glob(".exit*"))


def test_iterations_that_its_owner_has_changed_reach_every_later_launch(
    start: Start, tmp_path: Path
) -> None:
    script = start(
        'echo "$EF_ITERATIONS" >>told; [ "$EF_GENERATION" = 1 ] && sleep 1 && exit 75; exit 0'
    )
    script.until(LaunchState.RUNNING)
    order = Order(1, Action.RELAUNCH, time.time(), "go on here", iterations=25)
    script.state.write_order(order)
    assert script.end() == 0
    assert (tmp_path / "told").read_text() == "10\n25\n"


class TestClaim:
    """One job at a time writes into a state directory."""

    def test_it_is_the_first_ones(self, start: Start) -> None:
        script = start("true")
        assert script.end() == 0
        assert (script.state.path / "job").read_text() == "12\n"

    def test_its_own_claim_stands_through_requeues(self, start: Start) -> None:
        assert start("true").end() == 0
        assert start("true", restart_count=1).end() == 0

    def held(self, tmp_path: Path) -> None:
        (tmp_path / "st ate's" / "12").mkdir(parents=True)
        (tmp_path / "st ate's" / "12" / "job").write_text("11\n")

    @pytest.mark.parametrize("state", ["RUNNING", "PENDING"])
    def test_of_another_job_that_goes_on_it_is_refused(
        self, start: Start, fake: Path, tmp_path: Path, state: str
    ) -> None:
        self.held(tmp_path)
        (fake / "others").write_text(f"{state}\n")
        script = start("echo trained >trained")
        assert script.end() == 78
        assert not (tmp_path / "trained").exists()
        assert "job 11 trains in" in script.log.read_text()
        assert (script.state.path / "job").read_text() == "11\n"

    @pytest.mark.parametrize(
        "name", ["SQUEUE_PARTITION", "SQUEUE_USERS", "SQUEUE_ACCOUNT", "SQUEUE_STATES"]
    )
    def test_its_owners_settings_of_squeue_hide_no_job(
        self,
        start: Start,
        fake: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
    ) -> None:
        """As squeue has it: nothing, and no error, where such a variable means other jobs."""
        self.held(tmp_path)
        (fake / "others").write_text("RUNNING\n")
        hides = f'#!/bin/bash\n[ -n "${{{name}-}}" ] && exit\n'
        (fake / "squeue").write_text(hides + (fake / "squeue").read_text())
        monkeypatch.setenv(name, "other")
        script = start("echo trained >trained")
        assert script.end() == 78
        assert (script.state.path / "job").read_text() == "11\n"

    @pytest.mark.parametrize("known", [True, False])
    def test_what_an_ended_job_left_is_taken_over(
        self, start: Start, fake: Path, tmp_path: Path, known: bool
    ) -> None:
        self.held(tmp_path)
        if known:
            (fake / "others").write_text("")
        script = start("true")
        assert script.end() == 0
        assert (script.state.path / "job").read_text() == "12\n"

    def test_of_two_at_once_one_has_it(self, start: Start, tmp_path: Path) -> None:
        self.held(tmp_path)
        script = start("true")
        end = time.monotonic() + 60
        while (script.state.path / "job").read_text() != "12\n":
            assert time.monotonic() < end
            time.sleep(0.01)
        (script.state.path / "job").write_text("13\n")
        assert script.end() == 78
        assert "job 13 was faster" in script.log.read_text()

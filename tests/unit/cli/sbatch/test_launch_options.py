"""Who can set what of a launch: every field, by which option and which key of the site, to the
script that `ef-sbatch --dry-run` prints."""

import shlex
import sys
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from ef_slurm.cli.sbatch import command
from ef_slurm.cli.sbatch.launch_options import LAUNCH_OPTIONS, ONLY_THE_SITES
from ef_slurm.cli.sbatch.options import LAUNCH
from ef_slurm.launch import LaunchRequest
from ef_slurm.model import LaunchSettings

BASE = (
    *("--deadline=2099-01-01T00:00:00Z", "--iterations=100", "--global-batch-size=64"),
    *("--throughput=1:2.0", "--state-dir=/shared/state"),
)


@dataclass
class DryRun:
    """`ef-sbatch --dry-run` at a site."""

    directory: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    code: int = 0

    def __call__(
        self,
        *options: str,
        site: str = "",
        script: str = "",
        words: tuple[str, ...] | None = None,
        base: tuple[str, ...] = BASE,
    ) -> str:
        """What it prints: the batch script, or the error.

        Args:
            options: of the command line.
            site: the site's configuration.
            script: directives of the training script.
            words: what is submitted instead of that script.
            base: options that are always there.
        """
        config = self.directory / "ef-slurm.toml"
        config.write_text(site, encoding="utf-8")
        train = self.directory / "train.py"
        train.write_text(f"{script}\nimport torch\n", encoding="utf-8")
        arguments = (f"--config={config}", "--dry-run", *base, *options)
        submitted = (str(train),) if words is None else words
        self.monkeypatch.setattr(sys, "argv", ["ef-sbatch", *arguments, *submitted])
        with pytest.raises(SystemExit) as end:
            command.main()
        printed = self.capsys.readouterr()
        self.code = int(end.value.code or 0)
        return printed.err if self.code else printed.out


@pytest.fixture
def dry_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> DryRun:
    return DryRun(tmp_path, monkeypatch, capsys)


@dataclass(frozen=True)
class Reached:
    """A field, how it is set, and what then stands in the script."""

    field: str
    options: tuple[str, ...]
    by_option: str
    site: str = ""
    by_site: str = ""
    words: tuple[str, ...] | None = None


PYXIS = 'container_runtime = "pyxis"\n'
TEMPLATE = '{% extends "default/torchrun.sbatch.j2" %}{% block prologue %}df -h{% endblock %}'
REACHED = (
    Reached("command", (), "ef_command=(\n    /bin/true\n    a\n)", words=("/bin/true", "a")),
    Reached("torchrun", ("--wrap=./solve",), "ef_launcher=(\n)", words=()),
    Reached("state_dir", ("--state-dir=/a b",), "EF_STATE_DIR='/a b'"),
    Reached("order_file", ("--state-dir=/a b",), "-73c9c45d21e1dbba/order.json"),
    Reached("iterations", ("--iterations=7",), "EF_ITERATIONS=7"),
    Reached("global_batch_size", ("--global-batch-size=8",), "EF_GLOBAL_BATCH_SIZE=8"),
    Reached("job_name", ("--job-name=it's",), "#SBATCH --job-name='it'\"'\"'s'"),
    Reached("deadline", ("--deadline=2100-01-01T00:00:00Z",), "EF_DEADLINE=4102444800.0"),
    Reached("cpus_per_gpu", ("--cpus-per-gpu=3",), "#SBATCH --cpus-per-gpu=3"),
    Reached("max_batch_per_gpu", ("--max-batch-per-gpu=5",), "EF_MAX_BATCH_PER_GPU=5"),
    Reached(
        "launcher",
        ("--launcher=forkserver",),
        "ef_program='# The fork server of",
        'launcher = "torchrun"',
        'ef_program=\'"""torchrun as the batch',
    ),
    Reached(
        "preload",
        ("--preload=numpy,torch.optim",),
        "    --preload=yaml,numpy,torch.optim\n",
        'preload = ["yaml"]',
        "    --preload=yaml\n",
    ),
    Reached("python", ("--python=/o/p 3",), "'/o/p 3' -u -c", 'python = "/s/p"', "/s/p -u -c"),
    Reached(
        "modules",
        ("--module=gcc,cuda/12.4", "--module=nccl"),
        "module load nccl ||",
        'modules = ["openmpi"]',
        "module load openmpi ||",
    ),
    Reached(
        "conda_env",
        ("--conda-env=my env",),
        "conda activate 'my env' ||",
        'conda_env = "base"',
        "conda activate base ||",
    ),
    Reached("venv", ("--venv=/my v",), ". '/my v'/bin/activate", 'venv = "/v"', ". /v/bin/act"),
    Reached(
        "container_image",
        ("--container-image=img:1",),
        "--container-image=img:1",
        PYXIS + 'container_image = "site"',
        "--container-image=site",
    ),
    Reached(
        "container_mounts",
        ("--container-mounts=/a,/b c:/d:ro",),
        "$PWD:$PWD\",/scratch:/scratch,/a:/a,'/b c:/d:ro'\n",
        PYXIS + 'container_image = "site"\ncontainer_mounts = ["/scratch"]',
        '$PWD:$PWD",/scratch:/scratch\n',
    ),
    Reached(
        "environment",
        ("--env=A=it's $(date)", "--env=B="),
        "export EF_SET_A='it'\"'\"'s $(date)'\nexport EF_SET_C=c\nexport EF_SET_B=''\n",
        'environment = { A = "a b", C = "c" }',
        "export EF_SET_A='a b'\nexport EF_SET_C=c\n",
    ),
    Reached(
        "srun_options",
        ("--srun-options=--label '--epilog=a b'",),
        "    --mpi=none\n    --label\n    '--epilog=a b'\n)",
        'srun_options = ["--mpi=none"]',
        "    --mpi=none\n)",
    ),
    Reached(
        "torchrun_options",
        ("--torchrun-options=--tee=3",),
        "    --role=x\n    --tee=3\n)",
        'torchrun_options = ["--role=x"]',
        "    --role=x\n)",
    ),
    Reached(
        "checkpoint_interval",
        ("--checkpoint-interval=90s",),
        "EF_CHECKPOINT_SECONDS=90.0",
        "checkpoint_interval = 60",
        "EF_CHECKPOINT_SECONDS=60.0",
    ),
    Reached(
        "keep_checkpoints",
        ("--keep-checkpoints=9",),
        "EF_KEEP_CHECKPOINTS=9",
        "keep_checkpoints = 4",
        "EF_KEEP_CHECKPOINTS=4",
    ),
    Reached(
        "stop_signal",
        ("--stop-signal=SIGALRM",),
        "EF_STOP_SIGNAL=ALRM",
        'stop_signal = "URG"',
        "EF_STOP_SIGNAL=URG",
    ),
    Reached("decision_wait", (), "", "decision_wait = 77", "SECONDS + 77"),
    Reached(
        "container_runtime",
        (),
        "",
        'container_runtime = "apptainer"\ncontainer_image = "/x.sif"',
        "apptainer exec",
    ),
)
NOT_HERE = {
    *(
        "settings",
        "sbatch_options",
        "companion_options",
        "template",
        "epochs",
        "own_steps",
        "array",
    ),
}
"""The settings themselves; and what has tests of its own below."""


def test_epochs_take_the_place_of_iterations(dry_run: DryRun) -> None:
    text = dry_run("--epochs=2.5", base=("--deadline=2099-01-01T00:00:00Z",))
    assert "export EF_EPOCHS=2.5" in text
    assert "unset EF_ITERATIONS" in text
    assert "unset EF_EPOCHS" in dry_run()


def test_where_a_command_runs(dry_run: DryRun) -> None:
    each, once = "    ef_become_srun ", "    ef_become_command bash"
    assert each in dry_run("--wrap=true", words=())
    assert once in dry_run("--wrap=srun true", words=())
    assert once in dry_run("--script-on=first", "--wrap=true", words=())
    assert each in dry_run("--script-on=each", "--wrap=srun true", words=())
    assert each in dry_run("--script-on=first")  # a training script's ranks are torchrun's


def test_no_field_is_left_that_nobody_can_set() -> None:
    shown = {reached.field for reached in REACHED}
    wanted = {field.name for cls in (LaunchRequest, LaunchSettings) for field in fields(cls)}
    assert shown | NOT_HERE == wanted
    by_options = {option.field for option in LAUNCH_OPTIONS.values()}
    settings = {field.name for field in fields(LaunchSettings)}
    assert by_options | ONLY_THE_SITES == settings
    assert not by_options & ONLY_THE_SITES
    assert {option.name for option in LAUNCH} == LAUNCH_OPTIONS.keys()
    assert {r.field for r in REACHED if r.site} == settings - {"template"}
    assert {r.field for r in REACHED if not r.options} == {*ONLY_THE_SITES, "command"} - NOT_HERE


@pytest.mark.parametrize(
    "reached", [r for r in REACHED if r.by_option], ids=lambda reached: reached.field
)
def test_an_option_reaches_the_script(dry_run: DryRun, reached: Reached) -> None:
    text = dry_run(*reached.options, site=f"[launch]\n{reached.site}", words=reached.words)
    assert reached.by_option in text


@pytest.mark.parametrize(
    "reached", [r for r in REACHED if r.site], ids=lambda reached: reached.field
)
def test_a_key_of_the_site_reaches_the_script(dry_run: DryRun, reached: Reached) -> None:
    assert reached.by_site in dry_run(site=f"[launch]\n{reached.site}")


@pytest.mark.parametrize(
    "reached", [r for r in REACHED if r.site and r.options], ids=lambda reached: reached.field
)
def test_a_directive_reaches_the_script(dry_run: DryRun, reached: Reached) -> None:
    line = "#EF " + shlex.join(reached.options)
    text = dry_run(site=f"[launch]\n{reached.site}", script=line)
    assert reached.by_option in text


def test_an_image_with_a_hash_is_no_comment(dry_run: DryRun) -> None:
    line = "#EF --container-image=nvcr.io#nvidia/pytorch:25.01 '--env=C=# d' # it's ours"
    text = dry_run(site=f"[launch]\n{PYXIS}", script=line)
    assert "--container-image='nvcr.io#nvidia/pytorch:25.01'\n" in text
    assert "EF_SET_C='# d'\n" in text


def test_sbatch_lines_reach_the_script(dry_run: DryRun) -> None:
    assert "\n#SBATCH --account=nlp\n" in dry_run(script="#SBATCH --account=nlp")


def test_the_sites_template_makes_the_script(dry_run: DryRun, tmp_path: Path) -> None:
    template = tmp_path / "site.j2"
    template.write_text(TEMPLATE)
    text = dry_run(site=f'[launch]\ntemplate = "{template}"')
    assert "ef_prologue() {\n    :\ndf -h}" in text
    template.write_text("{{ colour }}")
    error = dry_run(site=f'[launch]\ntemplate = "{template}"')
    assert dry_run.code == 2
    assert f"launch.template of {tmp_path}/ef-slurm.toml: {template}: 'colour' is undef" in error


SITE = """
[launch]
modules = ["cuda/11"]
conda_env = "base"
container_runtime = "pyxis"
container_mounts = ["/scratch"]
environment = { A = "site", B = "site" }
keep_checkpoints = 4
"""
SCRIPT = "#EF --env=A=script --env=C=script --keep-checkpoints=5 --module=cuda/12 --venv=/v"


def test_command_line_then_script_then_site(dry_run: DryRun) -> None:
    text = dry_run("--env=C=line", "--keep-checkpoints=6", site=SITE, script=SCRIPT)
    assert "export EF_SET_A=script\nexport EF_SET_B=site\nexport EF_SET_C=line\n" in text
    assert "EF_KEEP_CHECKPOINTS=6\n" in text
    assert "EF_KEEP_CHECKPOINTS=5\n" in dry_run(site=SITE, script=SCRIPT)
    assert "EF_KEEP_CHECKPOINTS=4\n" in dry_run(site=SITE)


def test_modules_are_replaced_as_a_whole(dry_run: DryRun) -> None:
    def loaded(text: str) -> list[str]:
        return [line.split()[2] for line in text.splitlines() if line.startswith("module load")]

    assert loaded(dry_run(site=SITE)) == ["cuda/11"]
    assert loaded(dry_run(site=SITE, script=SCRIPT)) == ["cuda/12"]
    assert loaded(dry_run("--module=gcc", site=SITE, script=SCRIPT)) == ["gcc"]
    assert loaded(dry_run("--module=", site=SITE, script=SCRIPT)) == []


def test_where_python_comes_from_is_replaced_as_a_whole(dry_run: DryRun) -> None:
    def sources(text: str) -> list[str]:
        marks = ("conda activate", "/v/bin/activate", "--container-image=")
        return [mark for mark in marks if mark in text]

    assert sources(dry_run(site=SITE)) == ["conda activate"]
    assert sources(dry_run(site=SITE, script=SCRIPT)) == ["/v/bin/activate"]
    image = dry_run("--container-image=x", site=SITE, script=SCRIPT)
    assert sources(image) == ["--container-image="]
    assert ",/scratch:/scratch\n" in image
    for option in ("--venv=", "--conda-env=", "--container-image="):
        assert sources(dry_run(option, site=SITE, script=SCRIPT)) == []


def test_paths_of_a_virtual_environment_are_those_of_the_submission(
    dry_run: DryRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert f". {tmp_path}/v/bin/activate" in dry_run("--venv=v")
    assert ". /home/me/v/bin/activate" in dry_run("--venv=~/v")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--env=A", "--env: 'A' is not valid: NAME=VALUE"),
        ("--env=1A=x", "--env: '1A=x' is not valid: NAME=VALUE; a name has"),
        ("--env==x", "--env: '=x' is not valid: NAME=VALUE"),
        ("--env=A B=x", "--env: 'A B=x' is not valid"),
        ("--env=A;reboot=x", "--env: 'A;reboot=x' is not valid"),
        ("--env=EF_STATE_DIR=/x", "--env: 'EF_STATE_DIR=/x' is not valid: variables of the shell"),
        ("--env=ef_wrapper=1", "--env: 'ef_wrapper=1' is not valid"),
        ("--env=SLURM_JOB_ID=1", "--env: 'SLURM_JOB_ID=1' is not valid"),
        ("--env=IFS=x", "--env: 'IFS=x' is not valid"),
        ("--env=A=\a", "--env: '\\x07' is not valid: text without control characters"),
        ("--launcher=fork", "--launcher: 'fork' is not valid: one of forkserver, torchrun"),
        ("--preload=a,b c", "--preload: 'b c' is not valid: names of Python modules"),
        ("--preload=numpy,", "--preload: '' is not valid: names of Python modules"),
        ("--python=", "--python: '' is not valid: name an interpreter"),
        ("--python=-c", "--python: '-c' is not valid: it would be taken for an option"),
        ("--python=a\nb", "--python: 'a\\nb' is not valid: text without control"),
        ("--python=\udcff", "--python: '\\udcff' is not valid: text in UTF-8"),
        ("--module=a,,b", "--module: '' is not valid: names of modules"),
        ("--module=a b", "--module: 'a b' is not valid: names of modules"),
        ("--module=-f", "--module: '-f' is not valid: it would be taken for an option"),
        ("--conda-env=-x", "--conda-env: '-x' is not valid"),
        ("--venv=/a\nb", "--venv: '/a\\nb' is not valid"),
        ("--container-image=-x", "--container-image: '-x' is not valid"),
        ("--container-image=x", "this site runs no containers: container_runtime in [launch]"),
        ("--container-mounts=/a", "--container-mounts means nothing without a container"),
        ("--container-mounts=a", "--container-mounts: 'a' is not valid: /source, /source:/target"),
        ("--container-mounts=/a:b", "--container-mounts: '/a:b' is not valid"),
        ("--srun-options=--nodes=2", "'--nodes=2' is not valid: ef-slurm gives --nodes itself"),
        ("--srun-options=--nod=2", "'--nod=2' is not valid: ef-slurm gives --node"),
        ("--srun-options=-N2", "'-N2' is not valid: options as one word each: --name or"),
        ("--srun-options=--mpi none", "'none' is not valid: options as one word each"),
        ("--srun-options=--", "'--' is not valid"),
        ("--srun-options='", '--srun-options: "\'" is not valid: options, quoted as the shell'),
        ("--torchrun-options=--nproc_per_node=2", "ef-slurm gives --nproc-per-node itself"),
        ("--torchrun-options=-m", "'-m' is not valid"),
        ("--keep-checkpoints=0", "--keep-checkpoints: '0' is not valid: a whole number of 1"),
        ("--keep-checkpoints=x", "--keep-checkpoints: 'x' is not valid: a whole number"),
        ("--checkpoint-interval=0", "--checkpoint-interval: 0.0 is not valid: seconds, 1 or more"),
        ("--checkpoint-interval=often", "--checkpoint-interval: 'often' is not valid"),
        ("--stop-signal=TERM", "--stop-signal: 'TERM' is not valid: one of USR2, URG, ALRM"),
        ("--job-name=a\nb", "--job-name: 'a\\nb' is not valid: text without control"),
    ],
)
def test_errors_name_option_value_and_what_is_valid(
    dry_run: DryRun, option: str, message: str
) -> None:
    error = dry_run(option)
    assert dry_run.code == 2
    assert error.startswith("ef-sbatch: error: ")
    assert message in error


def test_an_error_in_a_directive_names_the_line(dry_run: DryRun) -> None:
    error = dry_run(script="#EF --keep-checkpoints=0")
    assert f"{dry_run.directory}/train.py:1: --keep-checkpoints: '0' is not valid" in error


def test_an_error_of_the_site_names_file_and_key(dry_run: DryRun) -> None:
    error = dry_run(site='[launch]\nsrun_options = ["--nodes=2"]')
    assert dry_run.code == 2
    assert f"{dry_run.directory}/ef-slurm.toml: launch: srun_options: '--nodes=2'" in error

"""How a training command is started: what a site sets for everybody and a job may change.

One validator serves the site configuration and ef-sbatch's options, so that both refuse the same
values in the same words.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ef_slurm.model.checks import check_finite
from ef_slurm.model.errors import ModelError


class ContainerRuntime(enum.Enum):
    """How containers are run at the site."""

    APPTAINER = "apptainer"
    PYXIS = "pyxis"


class StopSignal(enum.Enum):
    """The signals that may mean "look at your orders now".

    Slurm, bash and Python all know them by name, and neither Slurm (TERM, CONT, KILL), NCCL (USR1)
    nor torchrun (TERM, INT, HUP, QUIT) uses them.
    """

    USR2 = "USR2"
    URG = "URG"
    ALRM = "ALRM"


class Launcher(enum.Enum):
    """What starts the ranks of a Python script on a node."""

    FORKSERVER = "forkserver"  # one process imports torch for all of them
    TORCHRUN = "torchrun"


@dataclass(frozen=True, slots=True)
class LaunchSettings:
    """[launch]: how a job's command is started, and with what around it.

    Args:
        template: the site's own template of the batch script; None for the shipped one.
        launcher: what starts the ranks of a Python script. A fork server leaves it to torchrun
            where it cannot.
        preload: modules that the fork server imports before the ranks are forked, beside torch and
            what it has learned from the launch before.
        python: the interpreter that runs the launcher, found in the job's environment.
        modules: environment modules to load, after `module purge`.
        conda_env: name or path of a conda environment to activate; "" for none.
        venv: directory of a Python virtual environment to activate.
        container_runtime: what runs containers here; None where nothing does.
        container_image: what the command runs in, in the runtime's own notation; "" for the node
            itself.
        container_mounts: `/source[:/target[:flags]]`; the state directory and the working
            directory are always there.
        environment: variables of the command, set last: they win over modules and templates.
        srun_options: further options of srun, each as one word: `--mpi=none`.
        torchrun_options: further options of torchrun, each as one word.
        checkpoint_interval: seconds between periodic checkpoints.
        keep_checkpoints: how many of the newest checkpoints are kept.
        stop_signal: what makes a job look at its orders at once.
        decision_wait: seconds for which a stopped job waits to be requeued or launched again before
            it goes on by itself.

    Raises:
        ModelError: a value that cannot work, or two that exclude each other.
    """

    template: Path | None = None
    launcher: Launcher = Launcher.FORKSERVER
    preload: tuple[str, ...] = ()
    python: str = "python3"
    modules: tuple[str, ...] = ()
    conda_env: str = ""
    venv: Path | None = None
    container_runtime: ContainerRuntime | None = None
    container_image: str = ""
    container_mounts: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    srun_options: tuple[str, ...] = ()
    torchrun_options: tuple[str, ...] = ()
    checkpoint_interval: float = 300.0
    keep_checkpoints: int = 2
    stop_signal: StopSignal = StopSignal.USR2
    decision_wait: int = 300

    def __post_init__(self) -> None:
        if not self.python:
            raise ModelError("python", self.python, "name an interpreter, such as python3")
        for name in ("python", "conda_env", "container_image"):
            _check_name(name, getattr(self, name))
        for name in ("template", "venv"):
            check_text(name, str(getattr(self, name) or ""))
        for module in self.modules:
            _check_module(module)
        for module in self.preload:
            if not all(part.isidentifier() for part in module.split(".")):
                raise ModelError("preload", module, "names of Python modules, such as torch.optim")
        for mount in self.container_mounts:
            _check_mount(mount)
        for variable, value in self.environment.items():
            _check_variable(variable, value)
        for name, owned in (
            ("srun_options", _SRUN_OWNED),
            ("torchrun_options", _TORCHRUN_OWNED),
        ):
            for option in getattr(self, name):
                _check_option(name, option, owned)
        # 0 would mean "the default" to the training library.
        check_finite(
            "checkpoint_interval", self.checkpoint_interval, low=1.0, wanted="seconds, 1 or more"
        )
        if self.keep_checkpoints < 1:
            raise ModelError("keep_checkpoints", self.keep_checkpoints, "1 or more")
        if self.decision_wait < 0:
            raise ModelError("decision_wait", self.decision_wait, "seconds, 0 or more")
        self._check_python_source()

    def _check_python_source(self) -> None:
        """Python comes from one place."""
        sources = [
            (name, value)
            for name in ("container_image", "venv", "conda_env")
            if (value := getattr(self, name))
        ]
        if len(sources) > 1:
            name, value = sources[0]
            others = " and ".join(f"{other}={kept!s}" for other, kept in sources[1:])
            raise ModelError(
                name, str(value), f"Python comes from one place, and there is {others}: give one"
            )
        if self.container_image and self.container_runtime is None:
            raise ModelError(
                "container_image",
                self.container_image,
                "this site runs no containers: container_runtime in [launch] of its configuration "
                "names none",
            )


_SRUN_OWNED = frozenset(
    {
        *("nodes", "nodelist", "nodefile", "exclude", "relative", "ntasks", "ntasks-per-node"),
        *("ntasks-per-core", "ntasks-per-gpu", "ntasks-per-socket", "tres-per-task", "jobid"),
        *("gres", "gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task", "multi-prog"),
        *("kill-on-bad-exit", "wait", "chdir", "input", "het-group", "no-allocate"),
        *("container", "container-image", "container-mounts", "container-workdir"),
    }
)
"""srun's options that the batch script gives itself."""

_TORCHRUN_OWNED = frozenset(
    {
        *("nnodes", "nproc-per-node", "node-rank", "master-addr", "master-port", "standalone"),
        *("rdzv-backend", "rdzv-endpoint", "rdzv-id", "max-restarts", "module", "no-python"),
    }
)
"""torchrun's options that the batch script gives itself, or that would change what is run."""

_RESERVED_VARIABLES = re.compile(
    r"(EF|ef|SLURM|SLURMD|SBATCH|SALLOC|SRUN|PMI|PMIX)_.*"
    r"|IFS|UID|EUID|PPID|BASHPID|BASHOPTS|SHELLOPTS|BASH_VERSINFO",
    re.S,
)


def check_text(name: str, text: str, allowed: str = "") -> None:
    """Refuse what cannot stand in a batch script.

    A line break would end an `#SBATCH` line, a NUL cannot be passed to a command at all, and
    bytes of another encoding cannot be written into a script.

    Args:
        name: the field, for the error.
        text: what is to be checked.
        allowed: control characters that do no harm there.

    Raises:
        ModelError: `text` holds such a character.
    """
    for character in text:
        if character < " " and character not in allowed:
            raise ModelError(name, text, "text without control characters (line breaks, NUL, …)")
        if "\ud800" <= character <= "\udfff":
            raise ModelError(name, text, "text in UTF-8")


def _check_name(name: str, text: str) -> None:
    check_text(name, text)
    if text.startswith("-"):
        raise ModelError(name, text, "it would be taken for an option: begin with another letter")


def _check_module(module: str) -> None:
    _check_name("modules", module)
    if not module or any(character.isspace() or character == "," for character in module):
        raise ModelError("modules", module, "names of modules, such as cuda/12.4")


def _check_mount(mount: str) -> None:
    check_text("container_mounts", mount)
    if not re.fullmatch(r"/[^:,]*(:/[^:,]*(:[^:,]+)?)?", mount):
        raise ModelError(
            "container_mounts", mount, "/source, /source:/target or /source:/target:flags"
        )


def _check_variable(variable: str, value: str) -> None:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
        raise ModelError(
            "environment", f"{variable}={value}", "NAME=VALUE; a name has letters, digits and _"
        )
    if _RESERVED_VARIABLES.fullmatch(variable):
        raise ModelError(
            "environment",
            f"{variable}={value}",
            "variables of the shell, of Slurm and of ef-slurm (EF_…) are set by those",
        )
    check_text("environment", value, allowed="\t\n")


def _check_option(name: str, option: str, owned: frozenset[str]) -> None:
    check_text(name, option)
    match = re.fullmatch(r"--([a-z][a-z0-9_-]*)(=.*)?", option)
    # A word that is no option would be taken for the command, and short ones may be bundled.
    if match is None:
        raise ModelError(name, option, "options as one word each: --name or --name=value")
    given = match[1].replace("_", "-")
    # Both programs take names that are cut short.
    for long in sorted(owned):
        if long.startswith(given):
            raise ModelError(name, option, f"ef-slurm gives --{long} itself; leave it out")

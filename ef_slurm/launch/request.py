"""What is to be launched."""

import enum
import re
from dataclasses import dataclass, fields
from pathlib import Path

from ef_slurm.contract import (
    DEFAULT_CHECKPOINT_SECONDS,
    DEFAULT_KEEP_CHECKPOINTS,
    DEFAULT_STOP_SIGNAL,
    WAIT_SECONDS,
)


class LaunchError(ValueError):
    """A request that no batch script can be made of; the text names the field."""


class ContainerKind(enum.Enum):
    """How containers are run at the site."""

    APPTAINER = "apptainer"
    PYXIS = "pyxis"


@dataclass(frozen=True, slots=True)
class Container:
    """An image that the training command runs in."""

    kind: ContainerKind
    image: str
    mounts: tuple[str, ...] = ()
    """Further ``source[:target]`` directories; the state directory and the working directory are
    always there."""


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """Everything that the batch script is made of.

    Raises:
        LaunchError: a value that could not survive in a batch script, or makes no sense.
    """

    command: tuple[str, ...]
    """The training script and its arguments (``torchrun=True``) or any command."""
    state_dir: str
    """Absolute path on a shared file system; ``%j`` stands for the Slurm job id."""
    iterations: int
    global_batch_size: int
    torchrun: bool = True
    """Start the command through torchrun, one process per GPU. False: once per node, as it is."""
    python: str = "python3"
    """The interpreter that runs torchrun, found in the job's environment."""
    job_id: int | None = None
    """Slurm job id of the first submission, when this is a later one."""
    job_name: str | None = None
    deadline: float | None = None
    """UTC epoch seconds."""
    nodes: int = 1
    gpus_per_node: int = 1
    """The shape asked for at first; the daemon sets the real one. 0 GPUs: a CPU job."""
    cpus_per_gpu: int | None = None
    sbatch_options: tuple[str, ...] = ()
    """Further options of sbatch, each as one word: ``--partition=ef``."""
    max_batch_per_gpu: int | None = None
    checkpoint_seconds: float = DEFAULT_CHECKPOINT_SECONDS
    keep_checkpoints: int = DEFAULT_KEEP_CHECKPOINTS
    stop_signal: str = DEFAULT_STOP_SIGNAL
    wait_seconds: int = WAIT_SECONDS
    """How long a stopped job waits to be requeued or relaunched."""
    modules: tuple[str, ...] = ()
    """Environment modules to load."""
    conda: str | None = None
    """Name or path of a conda environment to activate."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables to set (NCCL_SOCKET_IFNAME, ...)."""
    container: Container | None = None
    torchrun_options: tuple[str, ...] = ()
    """Further options of torchrun, each as one word."""

    def __post_init__(self) -> None:
        if not self.command or not self.command[0]:
            raise LaunchError("command: nothing to run")
        if not Path(self.state_dir).is_absolute():
            raise LaunchError(f"state_dir: {self.state_dir!r} is not an absolute path")
        for name, least in (
            ("iterations", 1),
            ("global_batch_size", 1),
            ("nodes", 1),
            ("gpus_per_node", 0),
            ("keep_checkpoints", 1),
            ("wait_seconds", 0),
            ("checkpoint_seconds", 0),
        ):
            if getattr(self, name) < least:
                raise LaunchError(f"{name}: {getattr(self, name)} is less than {least}")
        if not re.fullmatch(r"[A-Z][A-Z0-9+-]*", self.stop_signal):
            raise LaunchError(f"stop_signal: {self.stop_signal!r} is no name such as USR2")
        if self.stop_signal in ("KILL", "STOP", "TERM", "USR1"):
            raise LaunchError(f"stop_signal: {self.stop_signal} cannot be used, take USR2")
        for name, value in self.environment:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise LaunchError(f"environment: {name!r}={value!r}: not the name of a variable")
        for option in self.sbatch_options:
            if not option.startswith("-"):
                raise LaunchError(f"sbatch_options: {option!r} does not begin with -")
        self._refuse_control_characters()

    def _refuse_control_characters(self) -> None:
        """A line break would end an #SBATCH line; a NUL cannot be passed at all. Arguments of the
        command itself may hold line breaks."""
        for field in fields(self):
            allowed = "\t\n" if field.name in ("command", "environment") else ""
            for text in _texts(getattr(self, field.name)):
                for character in text:
                    if ord(character) < 32 and character not in allowed:
                        raise LaunchError(f"{field.name}: {text!r} holds a control character")


def is_python(command: str) -> bool:
    """Whether a script is for torchrun: by its name or its first line."""
    path = Path(command)
    if path.suffix == ".py":
        return True
    try:
        with path.open("rb") as file:
            first = file.readline(200)
    except OSError:
        return False
    return first.startswith(b"#!") and b"python" in first


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, tuple):
        return [text for item in value for text in _texts(item)]
    if isinstance(value, Container):
        return [value.image, *value.mounts]
    return []

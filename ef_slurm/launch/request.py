"""What is to be launched."""

from dataclasses import dataclass, field
from pathlib import Path

from ef_slurm.model import ArrayMember, ContainerRuntime, LaunchSettings, ModelError, check_text


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """Everything that the batch script is made of.

    Slurm is asked for one GPU: before it starts the job the daemon sets the shape that its plan
    has.

    Args:
        command: the training script and its arguments (`torchrun=True`) or any command.
        state_dir: absolute path on a shared file system.
        order_file: absolute path of the file in which the daemon leaves its orders.
        iterations: of the whole training; None: the script says how many.
        epochs: of the whole training, instead of `iterations`; None: as the script says.
        global_batch_size: samples per iteration over all ranks; None: likewise.
        torchrun: start the command through torchrun, one process per GPU; False: once per node, as
            it is.
        own_steps: run the command once, on the first node, as sbatch does, because it starts its
            own steps with srun; torchrun's scripts do not.
        job_name: as Slurm shows it.
        deadline: UTC epoch seconds; None for a best-effort job.
        cpus_per_gpu: CPUs that come with each GPU; None for the partition's default.
        sbatch_options: further options of sbatch, each as one word: `--account=nlp`.
        companion_options: those that a companion of the job is submitted with; what Slurm shows of
            a job (account, QOS, CPUs, ...) is taken from there.
        max_batch_per_gpu: samples that fit into one GPU's memory.
        array: which job of an array it is; None for one that is in none.
        settings: how the command is started.

    Raises:
        ModelError: a value that could not survive in a batch script, or makes no sense.
    """

    command: tuple[str, ...]
    state_dir: str
    order_file: str
    iterations: int | None
    global_batch_size: int | None
    torchrun: bool = True
    own_steps: bool = False
    job_name: str | None = None
    deadline: float | None = None
    epochs: float | None = None
    cpus_per_gpu: int | None = None
    sbatch_options: tuple[str, ...] = ()
    companion_options: tuple[str, ...] = ()
    max_batch_per_gpu: int | None = None
    array: ArrayMember | None = None
    settings: LaunchSettings = field(default_factory=LaunchSettings)

    def __post_init__(self) -> None:
        if not self.command or not self.command[0]:
            raise ModelError("command", self.command, "name something to run")
        for name in ("state_dir", "order_file"):
            path = getattr(self, name)
            check_text(name, path)
            if not Path(path).is_absolute():
                raise ModelError(name, path, "an absolute path")
        for name in ("iterations", "global_batch_size", "cpus_per_gpu", "max_batch_per_gpu"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise ModelError(name, number, "1 or more")
        if self.own_steps and self.torchrun:
            raise ModelError("own_steps", True, "torchrun starts the ranks: leave it out")
        if self.own_steps and self.settings.container_runtime is ContainerRuntime.PYXIS:
            image = self.settings.container_image
            if image:
                wanted = "none: a script that starts its own steps names it on its srun lines"
                raise ModelError("container_image", image, wanted)
        for name in ("sbatch_options", "companion_options"):
            for option in getattr(self, name):
                if not option.startswith("-"):
                    raise ModelError(name, option, "it does not begin with -")
                check_text(name, option)
        # Arguments of the command may hold line breaks.
        for word in self.command:
            check_text("command", word, allowed="\t\n")
        check_text("job_name", self.job_name or "")
        for name in ("state_dir", "order_file"):
            path = getattr(self, name)
            if self.settings.container_image and any(mark in path for mark in ",:"):
                wanted = "it is mounted into the container, which no runtime can do with , or :"
                raise ModelError(name, path, wanted)


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

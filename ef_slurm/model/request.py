"""What was submitted."""

from __future__ import annotations

from dataclasses import dataclass, field

from ef_slurm.model.array import ArrayMember
from ef_slurm.model.curve import ThroughputCurve
from ef_slurm.model.dependency import Dependency
from ef_slurm.model.job import IfInfeasible, JobKind
from ef_slurm.model.notice import NoticeKind
from ef_slurm.model.overhead import Overhead
from ef_slurm.model.per_gpu import PerGpu
from ef_slurm.model.profile import UNSPECIFIED, check_name


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What was submitted.

    It never changes, except for the Slurm job that carries it and for what it left open: that is
    filled in once the training has told it (`Jobs.complete`).

    Args:
        slurm_job_id: the held Slurm job.
        owner, uid: the user that owns it, by name and number.
        submitted: when.
        iterations: to train in all; None until the script has told.
        global_batch_size: samples per iteration over all GPUs; None likewise.
        curves: (GPU type, curve); promises count on them. Empty until they were measured.
        growth_curves: the same as they are expected to be, where they were fitted; growth counts on
            them. Empty: `curves`.
        curve_source: where they are from, in words ("--throughput", a file's path).
        model_name, precision: with the global batch size and the GPU type the key under which its
            speed is remembered; a model name of "" is not.
        overhead: seconds per start, reshape and shrink that the promise is based on.
        max_time: the user's `--time`: seconds of wall-clock time from the first start, or None.
        state_dir: the job's state directory on the shared file system.
        gpu_types: that it may run on; empty: any.
        per_gpu: CPUs and memory that a job that nobody has submitted asks for with each GPU. Of
            others Slurm's own word counts (`QueueJob.slurm_settings`), and this is not kept.
        asked: what a job that nobody has submitted asks Slurm for beside its shape, by field, in
            Slurm's words; of others Slurm's own word counts likewise, and this is not kept.
        done: iterations that it has when it is submitted, in checkpoints that it goes on from. The
            row's `iteration` begins with it; it is not kept here.
        begin: before when it may not start, UTC epoch seconds; None for at once.
        dependency: what has to be so before it may start.
        mail_types: what somebody is to be told of it; `mail_user` whom (users, mail addresses, with
            commas), "" for its owner.
        array: which job of an array it is; None for one that is in none.
        assumed: whether iterations and global batch size are those of the training's run before:
            the script has the last word on them.
        iterations_stated, batch_stated: whether that one was submitted all the same, and counts.
    """

    slurm_job_id: int
    owner: str
    uid: int
    name: str
    submitted: float
    kind: JobKind
    iterations: int | None
    global_batch_size: int | None
    curves: tuple[tuple[str, ThroughputCurve], ...]
    state_dir: str
    deadline: float | None = None
    grace: float = 0.0
    if_infeasible: IfInfeasible = IfInfeasible.REJECT
    overhead: Overhead = field(default_factory=Overhead)
    curve_source: str = ""
    max_gpus: int | None = None
    max_time: float | None = None
    cluster: str = ""
    account: str = ""
    partition: str = ""
    growth_curves: tuple[tuple[str, ThroughputCurve], ...] = ()
    model_name: str = ""
    precision: str = UNSPECIFIED
    gpu_types: tuple[str, ...] = ()
    assumed: bool = False
    iterations_stated: bool = False
    batch_stated: bool = False
    per_gpu: PerGpu = field(default_factory=PerGpu)
    asked: tuple[tuple[str, str], ...] = ()
    done: int = 0
    begin: float | None = None
    dependency: Dependency = field(default_factory=Dependency)
    mail_types: tuple[NoticeKind, ...] = ()
    mail_user: str = ""
    array: ArrayMember | None = None

    @property
    def complete(self) -> bool:
        """Whether all is known that a verdict needs."""
        return bool(self.curves) and self.iterations is not None

    @property
    def most_gpus(self) -> int | None:
        """The largest share that it may have: its owner's bound, and a sample for each GPU."""
        bounds = (self.max_gpus, self.global_batch_size)
        return min((bound for bound in bounds if bound is not None), default=None)

    def __post_init__(self) -> None:
        if self.model_name:
            check_name("model name", self.model_name)
        check_name("precision", self.precision)


@dataclass(frozen=True, slots=True)
class BatchScript:
    """What sbatch was given, to submit the job again. Large, so it is read only then.

    Args:
        text: the script.
        options: sbatch options that went before it.
        arguments: the script's own.
        directory: where sbatch ran, and the job by default; "" for not known.
    """

    text: str
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    directory: str = ""

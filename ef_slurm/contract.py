"""What the batch script, the training library and the daemon agree on.

This text is the agreement; the batch script (``templates/torchrun.sbatch.j2``), the library
(``ef_slurm.training``) and the daemon are each tested against it. A command that is not Python
honours it by reading the environment, writing ``progress.json`` and exiting with the right code.

Words
    A **launch** is one run of the training command inside one allocation. The **generation**
    numbers the launches of a job: 1, 2, 3 ... over requeues, in-place relaunches and
    resubmissions alike. The batch script counts it, in the file ``generation``, before each
    launch. Every order names the generation it is meant for; an order for another generation is
    ignored. Every report names the generation that wrote it; a report of an older generation says
    nothing about the present one (except that its checkpoints exist).

Environment (batch script -> training command)
    ========================  =====================================================================
    ``EF_JOB_ID``             Slurm job id (another one after Slurm lost the job and it was
                              submitted again)
    ``EF_GENERATION``         number of this launch, from 1
    ``EF_STATE_DIR``          absolute path of the job's state directory, on a shared file system
    ``EF_GLOBAL_BATCH_SIZE``  samples per iteration over all ranks, the same at every world size
    ``EF_ITERATIONS``         iterations of the whole training, over all launches
    ``EF_DEADLINE``           UTC epoch seconds; unset for a best-effort job
    ``EF_NUM_NODES``          nodes of this launch
    ``EF_GPUS_PER_NODE``      GPUs on each of them (0: a CPU job)
    ``EF_NODES``              their names, separated by commas, in rank order
    ``EF_MASTER_ADDR``        first of them: where the rendezvous listens
    ``EF_MASTER_PORT``        port of the rendezvous: ``rendezvous_port(job id, generation)``
    ``EF_STOP_SIGNAL``        signal that says "look at order.json now" (default ``USR2``)
    ``EF_MAX_BATCH_PER_GPU``  optional: most samples one rank can hold at once; more are
                              accumulated
    ``EF_CHECKPOINT_SECONDS`` optional: seconds between periodic checkpoints (default 300)
    ``EF_KEEP_CHECKPOINTS``   optional: how many checkpoints are kept (default 2)
    ========================  =====================================================================
    Where Slurm's own variables disagree with these after a reshape, these are right.

Files (all in ``EF_STATE_DIR``)
    ====================  ==================  =====================================================
    file                  written by          read by
    ====================  ==================  =====================================================
    ``generation``        batch script        batch script, daemon: one integer
    ``launch.json``       batch script        daemon: ``Launch``
    ``order.json``        daemon              rank 0, batch script: ``Order``
    ``progress.json``     rank 0              daemon, batch script: ``Progress``
    ``checkpoint/<n>/``   all ranks           all ranks of a later generation
    ====================  ==================  =====================================================
    Each file has one writer. (One exception: the batch script puts an ``order.json`` with action
    ``none`` where there is none, so that network file systems do not cache its absence.) A file
    is replaced whole: written under a temporary name in the same directory, fsynced, renamed over
    the old one, directory fsynced; a reader sees the old or the new text, never a mixture. The
    JSON files are one flat object with one ``"key": value`` per line, so that the batch script
    reads them with ``sed``. Readers ignore keys that they do not know.

    ``checkpoint/<n>/`` is the state after iteration n (n iterations done). It is written as
    ``checkpoint/.<n>.<generation>.tmp/``, every file and the directory fsynced, then renamed: what
    has a number for a name was complete when it was renamed. It holds ``manifest.json``: the
    checksum of every other file, and what the checkpoint is of. One that does not match its
    manifest is set aside as ``checkpoint/<n>.corrupt/`` and the one before is used. The newest two
    (``EF_KEEP_CHECKPOINTS``) are kept.

Exit codes (of the training command; the batch script exits with the same ones)
    ====  ===================  ====================================================================
    0     ``Exit.FINISHED``    training is complete
    75    ``Exit.STOPPED``     stopped as ordered (or on TERM), checkpoint durable. Without an order
                               for this generation the batch script launches again
    78    ``Exit.UNUSABLE``    cannot work as asked, however often it is tried: checkpoint of
                               another model or another global batch size, more ranks than samples
                               in a batch, unwritable state directory. Not tried again
    74    ``Exit.NOT_SAVED``   stopped as ordered but the checkpoint could not be written; the
                               one before it counts
    else                       failed; tried again as below
    ====  ===================  ====================================================================
    To torchrun any worker's code but 0 is a failure that it ends the other workers for: under
    torchrun the library therefore leaves with 0 after a stop, and what counts is ``phase`` and
    ``exit_code`` in ``progress.json`` if it is of this generation. Without torchrun the code alone
    is enough.

Signals
    ``EF_STOP_SIGNAL`` (default USR2) to the steps means "look at ``order.json`` now";
    ``launch.json`` says which one it is, so that no process gets one that it does not know. It only
    shortens the wait: rank 0 reads the file several times a second anyway. It never means stop by
    itself, and processes that do not know it ignore it (the batch script sees to that).
    TERM means stop now (Slurm's requeue, preemption, time limit, scancel): checkpoint and leave
    within Slurm's KillWait. No other signal is touched; USR1 belongs to NCCL.

Stopping by order
    1. Daemon writes ``Order(generation=g, action=STOP)``; it may then send the signal.
    2. Rank 0 sees it; all ranks agree on the iteration to stop at: ``phase`` becomes ``stopping``
       and ``stop_iteration`` is set. This is the acknowledgement.
    3. The checkpoint of exactly that iteration is saved. ``phase`` becomes ``stopped``,
       ``checkpoint_iteration`` equals ``stop_iteration``, the processes exit.
    4. The batch script sees the step end and writes ``launch.json`` with state ``waiting``: no
       process of the job is left on any node but this script. Now the daemon may
       - requeue the job (into any shape): Slurm ends the script; the next start is generation g+1;
       - or resize the running job and then write ``Order(generation=g, action=RELAUNCH)``: the
         script asks Slurm for the nodes that it still has, and launches generation g+1 on them.
    5. If neither happens within ``launch.decision_wait`` seconds of the site's configuration (300)
       the script relaunches by itself on the nodes that it has: a job never idles because the
       daemon died.
    An order may be written again at any time with the same content: nothing happens twice.

How a launch ends (``launch.json``)
    ``running``      the step is being started or runs
    ``waiting``      stopped by order; see above
    ``finished``     training complete; the script exits 0
    ``failed``       not tried again; the script exits non-zero (``exit_code``)
    ``retrying``     the launch failed; the script starts the next generation in the same allocation
                     after a pause
    ``interrupted``  TERM from Slurm: the script is about to go, requeued or cancelled by Slurm
    A job whose launches fail ``MAX_FAILURES`` times in a row with no newer checkpoint (or no
    further iteration) in between is ``failed``; ``failures`` counts them. A launch that failed
    because a node does not answer is not counted: Slurm will take the node down and requeue. A
    launch that ends with 0 and never wrote ``progress.json`` is ``finished``: such a command is
    not elastic, and the daemon should not order it to stop but requeue it.
"""

import enum
import json
import os
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self, TypeVar, get_args, get_type_hints

VERSION = 1
"""Version of this agreement; written into every file."""

ENV_JOB_ID = "EF_JOB_ID"
ENV_GENERATION = "EF_GENERATION"
ENV_STATE_DIR = "EF_STATE_DIR"
ENV_GLOBAL_BATCH_SIZE = "EF_GLOBAL_BATCH_SIZE"
ENV_ITERATIONS = "EF_ITERATIONS"
ENV_DEADLINE = "EF_DEADLINE"
ENV_NUM_NODES = "EF_NUM_NODES"
ENV_GPUS_PER_NODE = "EF_GPUS_PER_NODE"
ENV_NODES = "EF_NODES"
ENV_MASTER_ADDR = "EF_MASTER_ADDR"
ENV_MASTER_PORT = "EF_MASTER_PORT"
ENV_STOP_SIGNAL = "EF_STOP_SIGNAL"
ENV_MAX_BATCH_PER_GPU = "EF_MAX_BATCH_PER_GPU"
ENV_CHECKPOINT_SECONDS = "EF_CHECKPOINT_SECONDS"
ENV_KEEP_CHECKPOINTS = "EF_KEEP_CHECKPOINTS"

DEFAULT_STOP_SIGNAL = "USR2"
DEFAULT_CHECKPOINT_SECONDS = 300.0
DEFAULT_KEEP_CHECKPOINTS = 2

MAX_FAILURES = 3
"""Failed launches in a row without progress after which a job is failed."""


class ContractError(ValueError):
    """A file or variable of the contract does not hold what it must; the text names it."""


class Exit(enum.IntEnum):
    """Exit codes of the training command and of the batch script."""

    FINISHED = 0
    NOT_SAVED = 74
    STOPPED = 75
    UNUSABLE = 78


class Action(enum.Enum):
    """What the daemon wants of the job."""

    NONE = "none"
    STOP = "stop"
    RELAUNCH = "relaunch"


class Phase(enum.Enum):
    """Where the training command is."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"


class LaunchState(enum.Enum):
    """Where the batch script is."""

    RUNNING = "running"
    WAITING = "waiting"
    RETRYING = "retrying"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Order:
    """``order.json``: from the daemon to the job."""

    generation: int
    """The launch that it is meant for."""
    action: Action
    issued_at: float
    """UTC epoch seconds."""
    reason: str = ""
    """One line for the job's log."""


@dataclass(frozen=True, slots=True)
class Progress:
    """``progress.json``: from rank 0 to the daemon. Times are UTC epoch seconds."""

    generation: int
    phase: Phase
    world_size: int
    iteration: int
    """Iterations done, over all launches."""
    updated_at: float
    started_at: float
    """When the session of this launch was made."""
    first_iteration_at: float | None = None
    """When the first iteration of this launch ended."""
    iterations_per_second: float | None = None
    """Over about the last ten seconds of training, checkpoints included; None before the second
    iteration."""
    checkpoint_iteration: int | None = None
    """Iteration of the newest durable checkpoint; None when there is none."""
    stop_iteration: int | None = None
    """The iteration that all ranks agreed to stop at; the acknowledgement of an order."""
    restore_seconds: float | None = None
    """What reading the checkpoint took, for the slowest rank known to rank 0."""
    save_seconds: float | None = None
    """What the newest checkpoint took, from the decision to its rename."""
    stall_seconds: float | None = None
    """How long training stood still for it."""
    corrupt_checkpoints: int = 0
    """Checkpoints set aside at the start of this launch because they did not match."""
    exit_code: int | None = None
    """With phase ``stopped``, ``finished`` or ``failed``: the ``Exit`` code that counts."""
    message: str = ""
    """With phase ``failed``: one line for a person."""


@dataclass(frozen=True, slots=True)
class Launch:
    """``launch.json``: from the batch script to the daemon."""

    generation: int
    state: LaunchState
    slurm_job_id: int
    restart_count: int
    """Slurm's count of requeues (``SLURM_RESTART_COUNT``)."""
    nodes: str
    """Names separated by commas, in rank order."""
    gpus_per_node: int
    port: int
    started_at: float
    """UTC epoch seconds at which this launch began."""
    updated_at: float
    """UTC epoch seconds at which ``state`` was entered."""
    failures: int = 0
    """Failed launches in a row without progress."""
    failed_at: int = -1
    """Newest checkpoint at the first of them; the batch script counts with it."""
    exit_code: int | None = None
    """Of the training command; None while it runs."""
    stop_signal: str = DEFAULT_STOP_SIGNAL
    """The signal that this launch's processes know to mean "look at ``order.json``"."""


@dataclass(frozen=True, slots=True)
class StateDir:
    """The state directory of one job, and the files in it."""

    path: Path

    @property
    def generation_file(self) -> Path:
        return self.path / "generation"

    @property
    def launch_file(self) -> Path:
        return self.path / "launch.json"

    @property
    def order_file(self) -> Path:
        return self.path / "order.json"

    @property
    def progress_file(self) -> Path:
        return self.path / "progress.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoint"

    def generation(self) -> int:
        """The number of the newest launch; 0 before the first."""
        text = _read_text(self.generation_file)
        if text is None or not text.strip():
            return 0
        try:
            return int(text)
        except ValueError:
            raise ContractError(
                f"{self.generation_file}: {text.strip()!r} is not an integer"
            ) from None

    def read_order(self) -> Order | None:
        """The order in force, or None when there is no file. Raises ContractError."""
        return _read(self.order_file, Order)

    def read_progress(self) -> Progress | None:
        """What rank 0 last reported, or None. Raises ContractError."""
        return _read(self.progress_file, Progress)

    def read_launch(self) -> Launch | None:
        """What the batch script last reported, or None. Raises ContractError."""
        return _read(self.launch_file, Launch)

    def write_order(self, order: Order) -> None:
        """Replace the order atomically and durably. Raises OSError."""
        write_atomic(self.order_file, _dump(order))

    def write_progress(self, progress: Progress, *, durable: bool = True) -> None:
        """Replace the report atomically; ``durable=False`` leaves out fsync (a periodic report
        that the next one replaces anyway). Raises OSError."""
        write_atomic(self.progress_file, _dump(progress), durable=durable)

    def write_launch(self, launch: Launch) -> None:
        """Replace the report atomically and durably. Raises OSError."""
        write_atomic(self.launch_file, _dump(launch))


FIRST_PORT = 15000
PORTS = 16000
"""Rendezvous ports lie in [15000, 31000): below Linux's ephemeral range."""


def rendezvous_port(job_id: int, generation: int) -> int:
    """Port of the rendezvous of one launch.

    The port after it belongs to the launch too. Jobs whose ids differ by less than 1000 never share
    one, nor do 8 successive generations of one job: a launch that found its port taken gets another
    one next time.
    """
    return FIRST_PORT + (job_id * 16 + generation % 8 * 2) % PORTS


def write_atomic(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace the file ``path`` by ``text``: temporary file, fsync, rename, fsync of the directory.

    Raises OSError; the old file is then untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            # Daemon and job may be different users; the directory decides who gets in.
            os.fchmod(file.fileno(), 0o644)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        fsync_directory(path.parent)


def fsync_directory(path: Path) -> None:
    """Make renames inside the directory durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class JobEnvironment:
    """The ``EF_*`` variables as the training command sees them.

    Outside of ef-slurm (a laptop) most are unset: ``state_dir`` is then None.
    """

    state_dir: Path | None = None
    job_id: int = 0
    generation: int = 1
    global_batch_size: int | None = None
    iterations: int | None = None
    deadline: float | None = None
    stop_signal: str = DEFAULT_STOP_SIGNAL
    max_batch_per_gpu: int | None = None
    checkpoint_seconds: float = DEFAULT_CHECKPOINT_SECONDS
    keep_checkpoints: int = DEFAULT_KEEP_CHECKPOINTS

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Parse the variables. Raises ContractError naming the one that is wrong."""
        state_dir = environment.get(ENV_STATE_DIR)
        return cls(
            state_dir=Path(state_dir) if state_dir else None,
            job_id=_whole(environment, ENV_JOB_ID, 0) or 0,
            generation=_whole(environment, ENV_GENERATION, 1) or 1,
            global_batch_size=_whole(environment, ENV_GLOBAL_BATCH_SIZE, 1),
            iterations=_whole(environment, ENV_ITERATIONS, 0),
            deadline=_number(environment, ENV_DEADLINE),
            stop_signal=environment.get(ENV_STOP_SIGNAL) or DEFAULT_STOP_SIGNAL,
            max_batch_per_gpu=_whole(environment, ENV_MAX_BATCH_PER_GPU, 1),
            checkpoint_seconds=_number(environment, ENV_CHECKPOINT_SECONDS)
            or DEFAULT_CHECKPOINT_SECONDS,
            keep_checkpoints=_whole(environment, ENV_KEEP_CHECKPOINTS, 1)
            or DEFAULT_KEEP_CHECKPOINTS,
        )


def _whole(environment: Mapping[str, str], name: str, least: int) -> int | None:
    text = environment.get(name)
    if not text:
        return None
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise ContractError(f"{name}={text!r}: expected an integer of at least {least}")
    return value


def _number(environment: Mapping[str, str], name: str) -> float | None:
    text = environment.get(name)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float("inf"):
        raise ContractError(f"{name}={text!r}: expected a number of seconds, 0 or more")
    return value


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _dump(record: Order | Progress | Launch) -> str:
    values: dict[str, Any] = {"version": VERSION}
    for key, value in asdict(record).items():
        values[key] = value.value if isinstance(value, enum.Enum) else value
    return json.dumps(values, indent=1) + "\n"


Record = TypeVar("Record", Order, Progress, Launch)


def _read(path: Path, kind: type[Record]) -> Record | None:
    text = _read_text(path)
    if text is None:
        return None
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ContractError(f"{path}: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ContractError(f"{path}: expected an object")
    if values.get("version") != VERSION:
        raise ContractError(
            f"{path}: version {values.get('version')!r}, this ef-slurm knows version {VERSION}"
        )
    hints = get_type_hints(kind)
    found = {
        field.name: _convert(path, field.name, values[field.name], hints[field.name])
        for field in fields(kind)
        if field.name in values
    }
    try:
        return kind(**found)
    except TypeError:
        missing = [f.name for f in fields(kind) if f.default is MISSING and f.name not in found]
        raise ContractError(f"{path}: without {', '.join(missing)}") from None


def _convert(path: Path, key: str, value: Any, hint: Any) -> Any:
    """``value`` as the type ``hint`` (int, float, str or an enum, possibly ``| None``)."""
    optional = get_args(hint)
    if optional:
        if value is None:
            return None
        hint = optional[0]
    if issubclass(hint, enum.Enum):
        try:
            return hint(value)
        except ValueError:
            known = ", ".join(str(member.value) for member in hint)
            raise ContractError(f"{path}: {key}: {value!r} is none of {known}") from None
    accepted = (int, float) if hint is float else (hint,)
    if isinstance(value, bool) or not isinstance(value, accepted):
        raise ContractError(f"{path}: {key}: {value!r} is not of type {hint.__name__}")
    return hint(value)

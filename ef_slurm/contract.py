"""What the batch script, the training library and the daemon agree on.

`docs/protocol.md` has the agreement in words: environment, files, exit codes, signals, and how a
stop goes. This module has its names, numbers and records, and reads and writes the files. Batch
script (`templates/`), library (`ef_slurm.training`) and daemon are each tested against it. It runs
in the user's environment too, and so imports nothing but the standard library.

A *launch* is one run of the training command inside one allocation. The *generation* numbers the
launches of a job: 1, 2, 3, … over requeues, relaunches in place and resubmissions alike. The batch
script counts it. An order for another generation is ignored; a report of an older one says nothing
about the present launch, except that its checkpoints exist.
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

    FINISHED = 0  # training is complete
    NOT_SAVED = 74  # stopped as ordered; the checkpoint could not be written
    STOPPED = 75  # stopped as ordered or on TERM, checkpoint durable
    UNUSABLE = 78  # cannot work as asked, however often it is tried


class Action(enum.Enum):
    """What the daemon wants of the job."""

    NONE = "none"
    STOP = "stop"  # checkpoint and leave
    RELAUNCH = "relaunch"  # go on in the same allocation


class Phase(enum.Enum):
    """Where the training command is."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"  # the ranks have agreed on the iteration to stop at
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"


class LaunchState(enum.Enum):
    """Where the batch script is."""

    RUNNING = "running"  # the step is being started or runs
    WAITING = "waiting"  # stopped by order: for a requeue, or for the order to relaunch
    RETRYING = "retrying"  # the launch failed: the next one follows after a pause
    INTERRUPTED = "interrupted"  # TERM from Slurm: the script is about to go
    FINISHED = "finished"  # training is complete
    FAILED = "failed"  # not tried again


@dataclass(frozen=True, slots=True)
class Order:
    """`order.json`: from the daemon to the job.

    Args:
        generation: the launch that it is meant for.
        issued_at: UTC epoch seconds.
        reason: one line for the job's log.
    """

    generation: int
    action: Action
    issued_at: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """`progress.json`: from rank 0 to the daemon. Times are UTC epoch seconds.

    Args:
        generation: the launch that tells it.
        world_size: ranks.
        iteration: iterations done, over all launches.
        started_at: when the session of this launch was made.
        first_iteration_at: when the first iteration of this launch ended.
        iterations_per_second: over about the last ten seconds of training, checkpoints included;
            None before the second iteration.
        checkpoint_iteration: of the newest durable checkpoint; None when there is none.
        stop_iteration: the iteration that all ranks agreed to stop at: the acknowledgement of an
            order.
        restore_seconds: what reading the checkpoint took, for the slowest rank known to rank 0.
        save_seconds: what the newest checkpoint took, from the decision to its rename.
        stall_seconds: how long training stood still for it.
        corrupt_checkpoints: set aside at the start of this launch because they did not match.
        exit_code: with phase stopped, finished or failed: the `Exit` code that counts.
        message: with phase failed: one line for a person.
    """

    generation: int
    phase: Phase
    world_size: int
    iteration: int
    updated_at: float
    started_at: float
    first_iteration_at: float | None = None
    iterations_per_second: float | None = None
    checkpoint_iteration: int | None = None
    stop_iteration: int | None = None
    restore_seconds: float | None = None
    save_seconds: float | None = None
    stall_seconds: float | None = None
    corrupt_checkpoints: int = 0
    exit_code: int | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Launch:
    """`launch.json`: from the batch script to the daemon. Times are UTC epoch seconds.

    Args:
        restart_count: Slurm's count of requeues (`SLURM_RESTART_COUNT`).
        nodes: names separated by commas, in rank order.
        port: of the rendezvous.
        started_at: when this launch began.
        updated_at: when `state` was entered.
        failures: failed launches in a row without progress.
        failed_at: newest checkpoint at the first of them; the batch script counts with it.
        exit_code: of the training command; None while it runs.
        stop_signal: what this launch's processes know to mean "look at `order.json`".
    """

    generation: int
    state: LaunchState
    slurm_job_id: int
    restart_count: int
    nodes: str
    gpus_per_node: int
    port: int
    started_at: float
    updated_at: float
    failures: int = 0
    failed_at: int = -1
    exit_code: int | None = None
    stop_signal: str = DEFAULT_STOP_SIGNAL


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
        """The number of the newest launch; 0 before the first.

        Raises:
            ContractError: the file holds no number.
        """
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
        """The order in force, or None when there is no file.

        Raises:
            ContractError: the file is not as agreed.
        """
        return _read(self.order_file, Order)

    def read_progress(self) -> Progress | None:
        """What rank 0 last reported, or None when there is no file.

        Raises:
            ContractError: the file is not as agreed.
        """
        return _read(self.progress_file, Progress)

    def read_launch(self) -> Launch | None:
        """What the batch script last reported, or None when there is no file.

        Raises:
            ContractError: the file is not as agreed.
        """
        return _read(self.launch_file, Launch)

    def write_order(self, order: Order) -> None:
        """Replace the order atomically and durably.

        Raises:
            OSError: it cannot be written; the old one is untouched.
        """
        write_atomic(self.order_file, _dump(order))

    def write_progress(self, progress: Progress, *, durable: bool = True) -> None:
        """Replace the report atomically.

        Args:
            durable: False for a periodic report, which the next one replaces: no fsync.

        Raises:
            OSError: it cannot be written; the old one is untouched.
        """
        write_atomic(self.progress_file, _dump(progress), durable=durable)

    def write_launch(self, launch: Launch) -> None:
        """Replace the report atomically and durably.

        Raises:
            OSError: it cannot be written; the old one is untouched.
        """
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
    """Replace the file `path` by `text`: temporary file, fsync, rename, fsync of the directory.

    Raises:
        OSError: it cannot be written; the old file is untouched.
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
    """Make renames inside the directory durable.

    Raises:
        OSError: it cannot be opened or synced.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class JobEnvironment:
    """The `EF_*` variables as the training command sees them.

    Outside of ef-slurm (a laptop) most are unset: `state_dir` is then None. Units are those of
    `docs/protocol.md`.
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
        """Parse the variables.

        Raises:
            ContractError: one is wrong; the text names it.
        """
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
    """`value` as the type `hint` (int, float, str or an enum, possibly `| None`)."""
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

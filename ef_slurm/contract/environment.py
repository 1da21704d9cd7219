"""The variables of a launch, and the port of its rendezvous."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ef_slurm.contract.records import DEFAULT_STOP_SIGNAL, ContractError

ENV_CHANGE = "EF_CHANGE"
ENV_JOB_ID = "EF_JOB_ID"
ENV_GENERATION = "EF_GENERATION"
ENV_STATE_DIR = "EF_STATE_DIR"
ENV_ORDER_FILE = "EF_ORDER_FILE"
ENV_GLOBAL_BATCH_SIZE = "EF_GLOBAL_BATCH_SIZE"
ENV_ITERATIONS = "EF_ITERATIONS"
ENV_EPOCHS = "EF_EPOCHS"
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
ENV_NEXT_FILE = "EF_NEXT_FILE"
ENV_HANDOVERS = "EF_HANDOVERS"

DEFAULT_CHECKPOINT_SECONDS = 300.0
DEFAULT_KEEP_CHECKPOINTS = 2


@dataclass(frozen=True, slots=True)
class JobEnvironment:
    """The `EF_*` variables as the training command sees them.

    Outside of ef-slurm (a laptop) most are unset: `state_dir` is then None. `order_file` is also
    where the batch script is of a version that knew no place of its own for orders. Units are those
    of `docs/protocol.md`.

    Args:
        change: the live change that this process is to be taken in with; 0 for one that the launch
            began with.
        next_file: appears when a `relaunch` need not be waited for any longer; None: it never does.
        handovers: number of the last change by which this launch took over from a smaller one, 0
            for one that began anew; None: the batch script prepares none.
        script_iterations, script_global_batch_size: what the script says itself, whatever counts;
            no variables.
    """

    state_dir: Path | None = None
    order_file: Path | None = None
    job_id: int = 0
    generation: int = 1
    global_batch_size: int | None = None
    iterations: int | None = None
    epochs: float | None = None
    num_nodes: int | None = None
    gpus_per_node: int | None = None
    deadline: float | None = None
    stop_signal: str = DEFAULT_STOP_SIGNAL
    max_batch_per_gpu: int | None = None
    checkpoint_seconds: float = DEFAULT_CHECKPOINT_SECONDS
    keep_checkpoints: int = DEFAULT_KEEP_CHECKPOINTS
    change: int = 0
    next_file: Path | None = None
    handovers: int | None = None
    script_iterations: int | None = None
    script_global_batch_size: int | None = None

    @property
    def ranks(self) -> int | None:
        """How many ranks the launch is for: one for each GPU, and one on a node without any."""
        if self.num_nodes is None or self.gpus_per_node is None:
            return None
        return self.num_nodes * max(1, self.gpus_per_node)

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Parse the variables.

        Raises:
            ContractError: one is wrong; the text names it.
        """
        state_dir = environment.get(ENV_STATE_DIR)
        order_file = environment.get(ENV_ORDER_FILE)
        next_file = environment.get(ENV_NEXT_FILE)
        return cls(
            state_dir=Path(state_dir) if state_dir else None,
            order_file=Path(order_file) if order_file else None,
            job_id=_whole(environment, ENV_JOB_ID, 0) or 0,
            generation=_whole(environment, ENV_GENERATION, 1) or 1,
            global_batch_size=_whole(environment, ENV_GLOBAL_BATCH_SIZE, 1),
            iterations=_whole(environment, ENV_ITERATIONS, 0),
            num_nodes=_whole(environment, ENV_NUM_NODES, 1),
            gpus_per_node=_whole(environment, ENV_GPUS_PER_NODE, 0),
            epochs=_number(environment, ENV_EPOCHS, "of epochs") or None,
            deadline=_number(environment, ENV_DEADLINE),
            stop_signal=environment.get(ENV_STOP_SIGNAL) or DEFAULT_STOP_SIGNAL,
            max_batch_per_gpu=_whole(environment, ENV_MAX_BATCH_PER_GPU, 1),
            checkpoint_seconds=_number(environment, ENV_CHECKPOINT_SECONDS)
            or DEFAULT_CHECKPOINT_SECONDS,
            keep_checkpoints=_whole(environment, ENV_KEEP_CHECKPOINTS, 1)
            or DEFAULT_KEEP_CHECKPOINTS,
            change=_whole(environment, ENV_CHANGE, 1) or 0,
            next_file=Path(next_file) if next_file else None,
            handovers=_whole(environment, ENV_HANDOVERS, 0),
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


def _number(environment: Mapping[str, str], name: str, what: str = "of seconds") -> float | None:
    text = environment.get(name)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float("inf"):
        raise ContractError(f"{name}={text!r}: expected a number {what}, 0 or more")
    return value


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

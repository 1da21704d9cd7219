"""What the batch script, the training library and the daemon agree on.

`docs/protocol.md` has the agreement in words: environment, files, exit codes, signals, and how a
stop goes. This room has its names, numbers and records (`records`), reads and writes the files
(`files`), and knows the variables (`environment`). Batch script (`templates/`), library
(`ef_slurm.training`) and daemon are each tested against it. It runs in the user's environment too,
and so imports nothing but the standard library. Begin with `records`.

A *launch* is one run of the training command inside one allocation. The *generation* numbers the
launches of a job: 1, 2, 3, … over requeues, relaunches in place and resubmissions alike. The batch
script counts it. An order for another generation is ignored; a report of an older one says nothing
about the present launch, except that its checkpoints exist.
"""

from ef_slurm.contract.companions import (
    COMPANION_COMMENT,
    CompanionOf,
    companion_comment,
    read_companion_comment,
)
from ef_slurm.contract.environment import (
    DEFAULT_CHECKPOINT_SECONDS,
    DEFAULT_KEEP_CHECKPOINTS,
    ENV_CHANGE,
    ENV_CHECKPOINT_SECONDS,
    ENV_DEADLINE,
    ENV_EPOCHS,
    ENV_GENERATION,
    ENV_GLOBAL_BATCH_SIZE,
    ENV_GPUS_PER_NODE,
    ENV_HANDOVERS,
    ENV_ITERATIONS,
    ENV_JOB_ID,
    ENV_KEEP_CHECKPOINTS,
    ENV_MASTER_ADDR,
    ENV_MASTER_PORT,
    ENV_MAX_BATCH_PER_GPU,
    ENV_NEXT_FILE,
    ENV_NODES,
    ENV_NUM_NODES,
    ENV_ORDER_FILE,
    ENV_STATE_DIR,
    ENV_STOP_SIGNAL,
    FIRST_PORT,
    PORTS,
    JobEnvironment,
    rendezvous_port,
)
from ef_slurm.contract.files import (
    StateDir,
    fsync_directory,
    order_file,
    replace_file,
    write_atomic,
)
from ef_slurm.contract.points import Point, points_text, read_points, read_sizes
from ef_slurm.contract.records import (
    DEFAULT_STOP_SIGNAL,
    MAX_FAILURES,
    VERSION,
    Action,
    Companion,
    ContractError,
    Exit,
    Launch,
    LaunchState,
    Order,
    Phase,
    Progress,
)

__all__ = [
    "COMPANION_COMMENT",
    "DEFAULT_CHECKPOINT_SECONDS",
    "DEFAULT_KEEP_CHECKPOINTS",
    "DEFAULT_STOP_SIGNAL",
    "ENV_CHANGE",
    "ENV_CHECKPOINT_SECONDS",
    "ENV_DEADLINE",
    "ENV_EPOCHS",
    "ENV_GENERATION",
    "ENV_GLOBAL_BATCH_SIZE",
    "ENV_GPUS_PER_NODE",
    "ENV_HANDOVERS",
    "ENV_ITERATIONS",
    "ENV_JOB_ID",
    "ENV_KEEP_CHECKPOINTS",
    "ENV_MASTER_ADDR",
    "ENV_MASTER_PORT",
    "ENV_MAX_BATCH_PER_GPU",
    "ENV_NEXT_FILE",
    "ENV_NODES",
    "ENV_NUM_NODES",
    "ENV_ORDER_FILE",
    "ENV_STATE_DIR",
    "ENV_STOP_SIGNAL",
    "FIRST_PORT",
    "MAX_FAILURES",
    "PORTS",
    "VERSION",
    "Action",
    "Companion",
    "CompanionOf",
    "ContractError",
    "Exit",
    "JobEnvironment",
    "Launch",
    "LaunchState",
    "Order",
    "Phase",
    "Point",
    "Progress",
    "StateDir",
    "companion_comment",
    "fsync_directory",
    "order_file",
    "points_text",
    "read_companion_comment",
    "read_points",
    "read_sizes",
    "rendezvous_port",
    "replace_file",
    "write_atomic",
]

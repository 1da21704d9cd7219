"""ef-slurm's own options of a submission, and those of sbatch that ef-sbatch answers itself.

The one place that names them and says what they do: command line, `#EF` lines, `--help`, manual and
completion are made of it. Defaults stand in the text, because most are the site's.
"""

from __future__ import annotations

from ef_slurm.cli.common.options import Option, OptionGroup, Takes

_NOTHING, _OPTIONAL = Takes.NOTHING, Takes.OPTIONAL


def _option(name: str, metavar: str, help: str) -> Option:
    return Option(name, metavar=metavar, help=help)


def _flag(name: str, help: str, short: str = "") -> Option:
    return Option(name, short, _NOTHING, help=help)


WHEN = OptionGroup(
    "What is needed",
    (
        _option(
            "deadline",
            "WHEN",
            "When it must be finished: 6h, 18:00, tomorrow 9am, friday, 12/24, 2026-12-24T12:00"
            " (local time), and more: see Times below.",
        ),
    ),
)

WORK = OptionGroup(
    "What the script says itself, unless you do (training.session(iterations=,"
    " global_batch_size=))",
    (
        _option("iterations", "N", "Iterations of the whole training."),
        _option(
            "epochs", "N", "Passes over the data set instead: the script's session counts them."
        ),
        _option(
            "global-batch-size", "B", "Samples per iteration, the same at every number of GPUs."
        ),
    ),
)

SPEED = OptionGroup(
    "How fast it trains, where nobody has measured it (else it is measured while it trains)",
    (
        _option(
            "throughput",
            "CURVE",
            "GPUs:iterations/s, for example 1:12.5,2:23,4:41; TYPE=CURVE for one GPU type, repeated"
            " for others (default: what was measured before).",
        ),
        _option("profile", "NAME", "A measured curve: NAME.csv in a profile directory."),
    ),
)

KEY = OptionGroup(
    "Under which key the speed is remembered, beside global batch size and GPU type",
    (
        _option(
            "model-name",
            "NAME",
            "What is trained (default: the name of the script without its suffix).",
        ),
        _option("precision", "WORD", "Of its numbers, for example bf16 (default: unspecified)."),
    ),
)

PROMISE = OptionGroup(
    "What is promised",
    (
        Option(
            "soft",
            takes=_OPTIONAL,
            metavar="GRACE",
            help="The deadline may be missed by GRACE: 90s, 30m, 1h30m (default: a quarter of the"
            " time until it).",
        ),
        _flag("best-effort", "No deadline: run on GPUs that no promise needs."),
        _option(
            "if-infeasible",
            "CHOICE",
            "When the deadline cannot be promised: reject, wait or best-effort (default: reject).",
        ),
        _option("max-gpus", "N", "Never more GPUs than this (default: the site's limit)."),
        _option(
            "array-promise",
            "each|all",
            "Whether the jobs of an --array are promised each, or all or none (default: each).",
        ),
        _option("gpu-type", "TYPE", "Only GPUs of this type (default: any)."),
        _option(
            "continue",
            "JOB|DIR",
            "Go on from the checkpoints of a job that has ended, in a directory of its own; without"
            " SCRIPT with what that job was given, but for what is given here.",
        ),
        _option(
            "overhead",
            "SECONDS|KIND=SECONDS,…",
            "Training lost per change of GPUs: one number, or one for each of start, grow, "
            "shrink, move and restart (default, also of those not named: the site's).",
        ),
        _option(
            "max-batch-per-gpu",
            "N",
            "Samples that fit into one GPU's memory (default: the global batch size).",
        ),
        _option(
            "script-on",
            "WHERE",
            "Where a batch script or a command runs: on each node of the job, or once, on the"
            " first, as with sbatch (default: first if it calls srun, else each).",
        ),
        _option(
            "state-dir",
            "DIR",
            "Where checkpoints and progress go: new, absolute, on a shared file system (default: a"
            " new directory under the site's).",
        ),
    ),
)

LAUNCH = OptionGroup(
    "How the command is started (defaults: [launch] in the site's configuration)",
    (
        _option(
            "module",
            "NAME[,NAME...]",
            "Environment modules to load, instead of the site's; repeatable.",
        ),
        _option("conda-env", "NAME|DIR", "The conda environment to activate."),
        _option("venv", "DIR", "The Python virtual environment to activate."),
        _option(
            "container-image",
            "IMAGE",
            "What to run in: an image as the site's pyxis or apptainer names it (only one of these"
            " three; empty for none).",
        ),
        _option(
            "container-mounts",
            "SRC[:DST[:FLAGS]],...",
            "More of the host inside it; the state directory and the working directory are always"
            " there.",
        ),
        _option(
            "env",
            "NAME=VALUE",
            "A variable of the command, over modules and the site's; repeatable.",
        ),
        _option(
            "launcher",
            "NAME",
            "What starts the ranks of a Python script: forkserver, which imports torch once per"
            " node and leaves it to torchrun where it cannot; or torchrun.",
        ),
        _option(
            "preload",
            "MODULE[,MODULE...]",
            "What the fork server imports beside torch and what it has learned; repeatable.",
        ),
        _option("python", "COMMAND", "The interpreter that runs the launcher."),
        _option(
            "torchrun-options",
            "WORDS",
            'More options of torchrun, quoted as in the shell: "--tee=3 --role=a".',
        ),
        _option("srun-options", "WORDS", 'More options of srun: "--cpu-bind=none".'),
        _option("checkpoint-interval", "T", "Between periodic checkpoints: 5m, 90s."),
        _option("keep-checkpoints", "N", "How many of them are kept."),
        _option(
            "stop-signal",
            "NAME",
            "What makes the job look at its orders at once: USR2, URG or ALRM.",
        ),
    ),
)

ACTS = OptionGroup(
    "What ef-sbatch does",
    (
        _flag("dry-run", "Print the batch script, submit nothing."),
        _flag(
            "wait-verdict",
            "Where its speed has to be measured first, return with the verdict.",
        ),
        _flag("json", "The verdict as JSON (times are UTC epoch seconds)."),
        _option(
            "verdict-timeout",
            "S",
            "Seconds to wait for the verdict (default: the site's; with --wait-verdict none where"
            " it is measured first).",
        ),
        _option(
            "register",
            "DIR",
            "Go on with a job that stayed held because ef-schedd was not reachable.",
        ),
        _option(
            "config",
            "FILE",
            "Configuration (default: $EF_SLURM_CONFIG, ~/.config/ef-slurm/ef-slurm.toml,"
            " /etc/ef-slurm/ef-slurm.toml).",
        ),
    ),
)

OWN_GROUPS = (WHEN, WORK, SPEED, KEY, PROMISE, LAUNCH, ACTS)
"""ef-slurm's own options; an `#EF` line may hold any of them but those in `NOT_IN_SCRIPTS`."""

AS_SBATCH = OptionGroup(
    "Options of sbatch's that ef-sbatch answers itself",
    (
        _flag(
            "test-only",
            "Tell the verdict and the plan, submit nothing; what sbatch would refuse is refused as"
            " it would be.",
        ),
        _flag("wait", "Return when the job has ended, with its exit code.", "W"),
        _flag("parsable", "Only the job id on standard output."),
        _flag("quiet", "No verdict, unless it is no.", "Q"),
        Option("job-name", "J", metavar="NAME", help="Default: the name of the script."),
        Option(
            "time",
            "t",
            metavar="LIMIT",
            help="The most that the job may take from its first start to its end, 0 for no limit"
            " (default: the partition's): what it would end is not promised.",
        ),
        Option(
            "begin",
            "b",
            metavar="WHEN",
            help="Not to be started before: as --deadline, but a day alone means its start"
            " (default: at once). The deadline is judged with it.",
        ),
        Option(
            "dependency",
            "d",
            metavar="WORDS",
            help="What to wait for: after:JOB[+MINUTES], afterany:JOB, afterok:JOB, afternotok:JOB"
            " (more as :JOB:JOB), singleton; all of them with , or one with ? between them. Judged"
            " at once where those have promises, and when they have ended otherwise.",
        ),
        Option(
            "array",
            "a",
            metavar="TASKS",
            help="A job for each number: 0-9, 1,3,5-9:2, 0-9%4 for 4 at most at once. Each is"
            " judged by itself, and has SLURM_ARRAY_TASK_ID.",
        ),
        Option(
            "kill-on-invalid-dep",
            metavar="yes|no",
            help="Cancel it once what it waits for can never be (default: as the site has it).",
        ),
        Option(
            "partition",
            "p",
            metavar="NAME",
            help="Only the one that ef-slurm schedules (default: that).",
        ),
        _option(
            "cpus-per-gpu",
            "N",
            "Without it and --mem-per-gpu a job gets a GPU's share of its node, at every size.",
        ),
        _option(
            "comment",
            "WORDS",
            "Kept in Slurm's comment, before what ef-slurm writes there: deadline and promise.",
        ),
        _option(
            "mail-type",
            "TYPE[,TYPE...]",
            "What to tell: PROMISED, AT_RISK, LATE and KEPT of its deadline; BEGIN, END, FAIL and"
            " REQUEUE of the job, not of each change of its GPUs; ALL of these; NONE. Slurm's"
            " TIME_LIMIT, TIME_LIMIT_90 and others go to sbatch.",
        ),
        _option("mail-user", "USER[,...]", "Whom: users or mail addresses (default: its owner)."),
        _option("wrap", "COMMAND", "A shell command instead of a script."),
        _flag("requeue", "Always the case: ef-slurm moves jobs by requeueing them."),
        _flag("usage", "Show the usage line and exit."),
        _flag("help", "Show this text and exit.", "h"),
        _flag("version", "Show the version and exit.", "V"),
    ),
)

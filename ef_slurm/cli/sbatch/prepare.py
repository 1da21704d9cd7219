"""From options to what is submitted: the batch script, sbatch's options, the queue's row."""

from __future__ import annotations

import getpass
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from math import inf
from pathlib import Path

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.common.problems import Problems
from ef_slurm.cli.sbatch.array_logs import log_options, named_logs
from ef_slurm.cli.sbatch.companion_options import companion_options
from ef_slurm.cli.sbatch.continuation import Source
from ef_slurm.cli.sbatch.curves import StatedCurves, read_profile, stated_throughput
from ef_slurm.cli.sbatch.environment import scrubbed
from ef_slurm.cli.sbatch.launch_options import launch_settings
from ef_slurm.cli.sbatch.mail_options import sbatch_options
from ef_slurm.cli.sbatch.node_choice import NodeChoice
from ef_slurm.cli.sbatch.per_gpu import PerGpuChoice
from ef_slurm.cli.sbatch.script import Script
from ef_slurm.cli.sbatch.submission_options import SubmissionOptions
from ef_slurm.contract import order_file
from ef_slurm.formats.durations import format_duration, whole_minutes
from ef_slurm.formats.times import format_stamp
from ef_slurm.launch import LaunchRequest, TemplateProblemError, render
from ef_slurm.model import (
    UNSPECIFIED,
    ArrayMember,
    JobRequest,
    LaunchSettings,
    ModelError,
    StopSignal,
    time_needed,
)
from ef_slurm.siteconfig.tables import Serves, SiteConfig
from ef_slurm.slurm.comments import compose, new_words
from ef_slurm.slurm.types import Submission


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything of a submission that is known before Slurm has it.

    Args:
        submission: what sbatch gets.
        request: the queue's row, still without a Slurm job.
        state_dir: to be made.
        copy: the name and text of a script to be put there; None for none.
        read_by: the user who must be able to read what the job reports; "" for its owner.
        words: of the command line.
        source: the checkpoints that it begins with; None for none.
    """

    submission: Submission
    request: JobRequest
    state_dir: Path
    copy: tuple[str, str] | None
    read_by: str = ""
    words: tuple[str, ...] = ()
    source: Source | None = None


def state_dir_name(name: str, now: float, zone: tzinfo) -> str:
    """A new state directory's name: when, what, and four letters against clashes.

    Not the Slurm job id: Slurm recycles those, and another job's checkpoints would lie there.
    """
    stamp = format_stamp(now, zone)
    word = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")[:40] or "job"
    return f"{stamp}-{word}-{secrets.token_hex(2)}"


def curves_of(
    requested: SubmissionOptions,
    config: SiteConfig,
    types: Sequence[str],
    known: Callable[[], StatedCurves],
) -> StatedCurves:
    """The throughput curves of the options; without any, those of the profile library.

    Where that has none either the speed is unknown.

    Args:
        known: what the library says, asked only then.

    Raises:
        UsageError: there are none for a GPU type, or they cannot be read.
    """
    if requested.profile is None and not requested.throughputs:
        return known()
    if requested.profile is None:
        return stated_throughput(requested.throughputs, requested.gpu_type, types)
    return read_profile(
        requested.profile,
        config.jobs.profiles,
        requested.global_batch_size,
        requested.gpu_type,
        types,
    )


def prepare(
    requested: SubmissionOptions,
    script: Script,
    curves: StatedCurves,
    config: SiteConfig,
    per_gpu: PerGpuChoice,
    nodes: NodeChoice,
    *,
    state_dir: Path,
    longest: float,
    now: float,
    environment: Mapping[str, str],
    words: tuple[str, ...] = (),
    source: Source | None = None,
    array: ArrayMember | None = None,
) -> Prepared:
    """The submission as it will be.

    Args:
        per_gpu: what comes with each GPU.
        nodes: which it may have.
        longest: the partition's time limit, seconds, `inf` for none.
        environment: this process's own.
        words: of the command line.
        source: what it goes on from.
        array: which job of an array it is; None for one that is in none.

    Raises:
        UsageError: a value does not fit into a batch script, or the reservation is not the site's.
    """
    name = requested.job_name or script.name
    partition = config.slurm.partition
    text = batch_script(requested, script, config, state_dir, array)
    assumed = curves.iterations is not None or curves.global_batch_size is not None
    request = JobRequest(
        slurm_job_id=0,
        owner=getpass.getuser(),
        uid=os.getuid(),
        name=name,
        submitted=now,
        kind=requested.kind,
        iterations=requested.iterations or curves.iterations,
        global_batch_size=requested.global_batch_size or curves.global_batch_size,
        curves=curves.curves,
        curve_source=curves.source,
        growth_curves=curves.growth,
        state_dir=str(state_dir),
        deadline=requested.deadline,
        grace=requested.grace,
        if_infeasible=requested.if_infeasible,
        overhead=replace(config.overhead, **requested.overhead),
        max_gpus=_least(requested.max_gpus, per_gpu.max_gpus),
        max_time=None if requested.time_limit in (None, inf) else requested.time_limit,
        cluster=config.slurm.cluster,
        partition=partition,
        model_name=requested.model_name or script.model_name,
        precision=requested.precision or UNSPECIFIED,
        gpu_types=() if requested.gpu_type is None else (requested.gpu_type,),
        account=requested.account or "",
        per_gpu=per_gpu.per_gpu,
        assumed=assumed,
        iterations_stated=assumed and requested.iterations is not None,
        batch_stated=assumed and requested.global_batch_size is not None,
        done=0 if source is None else source.done,
        begin=requested.begin,
        mail_types=requested.mail_types,
        mail_user=requested.mail_user,
        dependency=requested.dependency,
        array=array,
    )
    reservation = _reservation(requested, config)
    limit = _limit(requested, request, longest, now)
    asked = _asked(requested, limit, reservation, nodes)
    request = replace(request, asked=asked)
    options = (
        f"--partition={partition}",
        *((f"--reservation={reservation}",) if reservation else ()),
        f"--time={format_duration(limit)}",
        f"--comment={compose(requested.comment, new_words(request.deadline, request.grace))}",
        *sbatch_options(requested.slurm_mail, requested.mail_user),
        *per_gpu.options,
        *nodes.options,
        *log_options(requested.on_command_line, requested.in_script, array),
    )
    submission = Submission(text, options, (), str(Path.cwd()), scrubbed(environment))
    service = config.daemon.serves is Serves.EVERYONE
    read_by = config.daemon.user if service else ""
    copy = None if script.text is None else (script.copy_name, script.text)
    return Prepared(submission, request, state_dir, copy, read_by, words, source)


def batch_script(
    requested: SubmissionOptions,
    script: Script,
    config: SiteConfig,
    state_dir: Path,
    array: ArrayMember | None = None,
) -> str:
    """The script that sbatch gets.

    Raises:
        UsageError: a value does not fit into a batch script, or the site's template is wrong.
    """
    settings = _settings(requested, script, config)
    try:
        request = LaunchRequest(
            command=script.command(state_dir),
            state_dir=str(state_dir),
            order_file=str(order_file(config.order_root, os.getuid(), str(state_dir))),
            iterations=requested.iterations,
            epochs=requested.epochs,
            global_batch_size=requested.global_batch_size,
            torchrun=script.torchrun,
            own_steps=_own_steps(requested, script),
            job_name=requested.job_name or script.name,
            deadline=requested.deadline,
            cpus_per_gpu=requested.with_gpu.cpus,
            sbatch_options=tuple(named_logs(word, array) for word in requested.in_script),
            companion_options=companion_options((*requested.in_script, *requested.on_command_line)),
            array=array,
            max_batch_per_gpu=requested.max_batch_per_gpu,
            settings=settings,
        )
        return render(request)
    except ModelError as error:
        place = _PLACES.get(error.field, f"--{error.field.replace('_', '-')}")
        raise UsageError(f"{place}: {error.value!r} is not valid: {error.wanted}") from None
    except TemplateProblemError as error:
        raise UsageError(f"launch.template of {config.path}: {error}") from None


_PLACES = {"command": "the command", "sbatch_options": "#SBATCH"}
"""Where what is no option of its own comes from."""


def _least(*bounds: int | None) -> int | None:
    return min((bound for bound in bounds if bound is not None), default=None)


def _own_steps(requested: SubmissionOptions, script: Script) -> bool:
    if script.torchrun:
        return False
    return script.calls_srun if requested.on_first_node is None else requested.on_first_node


def _settings(requested: SubmissionOptions, script: Script, config: SiteConfig) -> LaunchSettings:
    settings = launch_settings(requested.launch, config.launch)
    said = any(option.option.name == "stop-signal" for option in requested.launch)
    if _own_steps(requested, script) and not said:
        # Its steps begin without ef-slurm's care: a signal that ends nobody by itself.
        return replace(settings, stop_signal=StopSignal.URG)
    return settings


def check_site(
    requested: SubmissionOptions, script: Script, config: SiteConfig, problems: Problems
) -> None:
    """Note what does not fit the site, as far as its configuration tells."""
    with problems.collecting():
        _check_directory(requested)
    with problems.collecting():
        _reservation(requested, config)
    with problems.collecting():
        _check_signal(requested, _settings(requested, script, config).stop_signal)
    partition = config.slurm.partition
    if requested.partition not in (None, partition):
        problems.add(
            f"--partition={requested.partition}: ef-slurm schedules the partition {partition!r}; "
            "leave the option out, or use sbatch there"
        )


def _check_signal(requested: SubmissionOptions, ours: StopSignal) -> None:
    """Refuse a signal before the end that means something else to the job.

    Raises:
        UsageError: says which would do.
    """
    if requested.signal == ours.value:
        raise UsageError(
            f"--signal: {ours.value} makes the job look at its orders, and no script gets it: use "
            "USR1, or another --stop-signal"
        )


def _limit(requested: SubmissionOptions, request: JobRequest, longest: float, now: float) -> float:
    """Slurm's limit in seconds: the user's, or one that no plan can need, within the site's."""
    if requested.time_limit is not None:
        return requested.time_limit
    return min(whole_minutes(time_needed(request, now)), longest)


def _asked(
    requested: SubmissionOptions, limit: float, reservation: str, nodes: NodeChoice
) -> tuple[tuple[str, str], ...]:
    """What Slurm is asked for, in the words in which it tells that of a job."""
    words = {
        "QOS": requested.qos or "",
        "reservation": reservation,
        "licenses": requested.licenses or "",
        "time limit": "unlimited" if limit == inf else f"{limit / 60:.0f}",
        **dict(nodes.asked),
    }
    return tuple(sorted((name, word) for name, word in words.items() if word))


def _reservation(requested: SubmissionOptions, config: SiteConfig) -> str:
    """The reservation that the job is to be in: the site's, or the user's; "" for none.

    Raises:
        UsageError: the user wants another one than the site's, or one of several.
    """
    given = requested.reservation or ""
    ours = config.slurm.reservation
    if "," in given:
        raise UsageError(f"--reservation={given}: give one: ef-slurm plans with its nodes")
    if given and ours and given != ours:
        raise UsageError(
            f"--reservation={given}: ef-slurm schedules inside the reservation {ours!r} here; "
            "leave the option out, or use sbatch"
        )
    return ours or given


def _check_directory(requested: SubmissionOptions) -> None:
    """Refuse a working directory that the job could not be in: Slurm finds out when it starts.

    Raises:
        UsageError: it does not exist, or may not be entered.
    """
    if requested.directory is None:
        return
    directory, problem = Path(requested.directory), ""
    try:
        if not stat.S_ISDIR(directory.stat().st_mode):
            problem = "it is no directory"
        elif not os.access(directory, os.X_OK):
            problem = "you may not enter it"
    except OSError as error:
        problem = str(error.strerror)
    if problem:
        raise UsageError(f"--chdir={directory}: {problem}: give a directory that you can enter")

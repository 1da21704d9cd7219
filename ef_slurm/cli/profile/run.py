"""ef-profile run: measure a training's curve on purpose.

The training is submitted as a best-effort job of the largest size: the daemon gives it GPUs that no
promise needs, as it does to any other. It trains on a part of them after the other, is measured
like every job, and is cancelled as soon as all is known, its time is up, or nobody wants it.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field

from ef_slurm.api.client import Client, FailureError, UnreachableError, expect
from ef_slurm.api.messages import Cancel, FindCurves, KnownCurves, Ping, Pong
from ef_slurm.cli.common.connect import connect, slurm_of
from ef_slurm.cli.common.entry import complain, configuration
from ef_slurm.cli.common.errors import CommandError, ExitCode, UsageError
from ef_slurm.cli.common.interrupts import ended_by_hangup, uninterrupted
from ef_slurm.cli.common.output import say, say_json
from ef_slurm.cli.common.problems import Problems
from ef_slurm.cli.profile.drawing import curve_lines
from ef_slurm.cli.profile.run_display import RunDisplay, result_line
from ef_slurm.cli.profile.run_options import RunOptions, run_options, submitted_as
from ef_slurm.cli.profile.size_run import SizeResult, SizeRun, order_of, read_reports
from ef_slurm.cli.sbatch.curves import UNKNOWN
from ef_slurm.cli.sbatch.environment import (
    environment_options,
    of_sbatch,
    without_partition,
)
from ef_slurm.cli.sbatch.node_choice import node_choice
from ef_slurm.cli.sbatch.per_gpu import per_gpu_choice
from ef_slurm.cli.sbatch.prepare import Prepared, check_site, curves_of, prepare, state_dir_name
from ef_slurm.cli.sbatch.script import Script, from_words, wrapped
from ef_slurm.cli.sbatch.submission_options import submission_options
from ef_slurm.cli.sbatch.submit import Answer, Patience, submit
from ef_slurm.formats.durations import format_duration
from ef_slurm.formats.sentences import gpus
from ef_slurm.formats.zone import local_zone
from ef_slurm.model import JobRequest, KnownCurve, Outcome
from ef_slurm.queue.errors import QueueError
from ef_slurm.siteconfig.tables import SiteConfig
from ef_slurm.slurm.errors import SlurmError
from ef_slurm.slurm.interface import Slurm

PROGRAM = "ef-profile"


@dataclass(slots=True)
class _Result:
    """What a run came to."""

    request: JobRequest
    sizes: list[SizeResult] = field(default_factory=list)
    problem: str = ""
    batch: int | None = None
    curves: tuple[KnownCurve, ...] = ()
    interrupted: bool = False

    @property
    def code(self) -> ExitCode:
        if self.interrupted:
            return ExitCode.INTERRUPTED
        if not any(one.rate is not None for one in self.sizes):
            return ExitCode.SLURM
        whole = not self.problem and all(one.rate is not None for one in self.sizes)
        return ExitCode.OK if whole else ExitCode.INCOMPLETE


def run_command(words: Sequence[str]) -> ExitCode:
    """`ef-profile run`."""
    with ended_by_hangup():  # else the job would go on, for nobody
        return _run(run_options(words))


def _run(options: RunOptions) -> ExitCode:
    script = _script(options)
    site = configuration(options.config)
    slurm = slurm_of(site)
    with closing(connect(site, lambda: slurm)) as client:
        options = _with_sizes(options, site, slurm)
        prepared = _prepare(options, script, client, site, slurm)
        answer = submit(prepared, client, slurm, Patience(site.jobs.verdict_wait))
        result = _Result(answer.request, batch=answer.request.global_batch_size)
        if answer.outcome is Outcome.REJECTED:
            raise CommandError(_refusal(answer))
        try:
            if answer.outcome is None:
                raise CommandError(_refusal(answer), ExitCode.NO_ANSWER)
            _follow(options, result, client)
        finally:
            _clean_up(options, result.request, client, slurm)
        with suppress(UnreachableError, FailureError, QueueError):
            result.curves = _curves(result, client)
    return _tell(options, result)


def _script(options: RunOptions) -> Script:
    if options.wrap is not None:
        if options.words:
            word = options.words[0]
            raise UsageError(f"--wrap and a script: give one of them, not also {word!r}")
        return wrapped(options.wrap)
    if not options.words:
        raise UsageError("which script? See ef-profile run --help")
    return from_words(options.words)


def _with_sizes(options: RunOptions, site: SiteConfig, slurm: Slurm) -> RunOptions:
    """With sizes, as far as the partition has them."""
    kinds = [one.value for one in options.submission if one.option.name == "gpu-type"]
    counts = [
        gpu.count
        for node in slurm.nodes()
        if site.slurm.partition in node.partitions
        for gpu in node.gpus
        if not kinds or (gpu.gpu_type or site.nodes.gpu_type) == kinds[-1]
    ]
    if not counts:
        of_type = f" of type {kinds[-1]!r}" if kinds else ""
        raise UsageError(f"no node of the partition {site.slurm.partition!r} has GPUs{of_type}")
    options = options.on([1 << power for power in range(max(counts).bit_length())])
    if options.sizes[-1] > sum(counts):
        raise UsageError(
            f"--gpus: {options.sizes[-1]} are more than the partition "
            f"{site.slurm.partition!r} has ({sum(counts)})"
        )
    return options


def _prepare(
    options: RunOptions, script: Script, client: Client, site: SiteConfig, slurm: Slurm
) -> Prepared:
    parsed, script = submitted_as(options, script)
    now, zone = time.time(), local_zone()
    problems = Problems()
    environment, foreign = without_partition(
        of_sbatch(environment_options(os.environ, problems)), site.slurm.partition
    )
    requested = submission_options(
        parsed, script.options, now, zone, environment=environment, problems=problems
    )
    check_site(requested, script, site, problems)
    if not (requested.model_name or script.model_name):
        problems.add("under which name is it to be remembered? Give --model-name=NAME")
    name = requested.job_name or script.name
    types = expect(Pong, client.ask(Ping())).gpu_types
    if not types:
        raise CommandError("ef-schedd has seen no GPUs yet: try again", ExitCode.NO_ANSWER)
    curves = curves_of(requested, site, types, lambda: UNKNOWN)
    asked = [requested.gpu_type] if requested.gpu_type else types
    all_nodes = slurm.nodes()
    nodes = node_choice(requested, site.slurm.partition, all_nodes, problems)
    problems.tell()
    per_gpu = per_gpu_choice(requested, site, slurm, asked, nodes.of(all_nodes))
    for note in (*foreign, *requested.notes, *nodes.notes, *per_gpu.notes):
        say(note, err=True)
    return prepare(
        requested,
        script,
        curves,
        site,
        per_gpu,
        nodes,
        state_dir=requested.state_dir or site.jobs.state_root / state_dir_name(name, now, zone),
        longest=math.inf,
        now=now,
        environment=os.environ,
    )


def _refusal(answer: Answer) -> str:
    """Why it does not run, in a sentence."""
    job = None if answer.status is None else answer.status.job
    verdict = None if job is None else job.verdict
    words = verdict.explanation if verdict is not None else ""
    return answer.problem or words or ("" if job is None else job.note) or "it was not taken"


def _follow(options: RunOptions, result: _Result, client: Client) -> None:
    request = result.request
    if not options.json:
        limit = format_duration(options.limit)
        say(f"Submitted batch job {request.slurm_job_id}", err=True)
        say(f"At most {limit} on {gpus(options.sizes[-1])}; Ctrl-C ends it", err=True)
    run = SizeRun(
        client,
        request,
        options.sizes,
        seconds_per_size=options.seconds_per_size,
        limit=options.limit,
        reports=lambda: read_reports(request.state_dir),
        clock=time.time,
        pause=time.sleep,
    )
    bar = sys.stderr.isatty()
    try:
        with RunDisplay(len(options.sizes), options.seconds_per_size, bar=bar) as display:
            for step in run.follow():
                if isinstance(step, SizeResult):
                    result.sizes.append(step)
                display.show(step)
    except KeyboardInterrupt:
        result.interrupted, run.problem = True, "interrupted"
    except (UnreachableError, FailureError, QueueError) as error:
        run.problem = str(error)
    result.problem, result.batch = run.problem, run.batch
    tried = {one.gpus for one in result.sizes}
    for size in order_of(options.sizes):
        if size not in tried:
            result.sizes.append(SizeResult(size, None, result.problem))


def _clean_up(options: RunOptions, request: JobRequest, client: Client, slurm: Slurm) -> None:
    """Nothing of the job stays but what was measured: it is cancelled, its checkpoints removed."""
    job_id, state_dir = request.slurm_job_id, request.state_dir
    with uninterrupted():
        try:
            slurm.cancel(job_id)
        except SlurmError as error:
            complain(PROGRAM, f"{error.message}: cancel job {job_id} yourself (scancel {job_id})")
            return
        with suppress(UnreachableError, FailureError, QueueError):
            client.ask(Cancel((job_id,)))
    if any(one.option.name == "state-dir" for one in options.submission):
        return
    if _has_ended(slurm, job_id):
        shutil.rmtree(state_dir, ignore_errors=True)
    else:
        say(f"{PROGRAM}: its checkpoints are left in {state_dir}", err=True)


def _has_ended(slurm: Slurm, job_id: int) -> bool:
    """Whether none of its processes writes any more; for a moment that is waited for."""
    for _ in range(60):
        try:
            job = slurm.job(job_id)
        except SlurmError:
            return False
        if job.is_final and "COMPLETING" not in job.flags:
            return True
        time.sleep(0.5)
    return False


def _curves(result: _Result, client: Client) -> tuple[KnownCurve, ...]:
    request = result.request
    if result.batch is None:
        return ()
    wanted = FindCurves(request.model_name, result.batch, request.precision)
    known = expect(KnownCurves, client.ask(wanted)).curves
    types = {kind for kind, _ in request.curves}
    return tuple(curve for curve in known if curve.gpu_type in types)


def _tell(options: RunOptions, result: _Result) -> ExitCode:
    measured = [one for one in result.sizes if one.rate is not None]
    if options.json:
        request = result.request
        say_json(
            {
                "job_id": request.slurm_job_id,
                "model_name": request.model_name,
                "global_batch_size": result.batch,
                "precision": request.precision,
                "sizes": result.sizes,
                "problem": result.problem,
                "curves": result.curves if measured else (),
            }
        )
    elif measured:
        for curve in result.curves:
            for line in curve_lines(curve, local_zone()):
                say(line)
    for one in result.sizes:
        if one.rate is None and one.why != result.problem:
            complain(PROGRAM, result_line(one))
    if result.problem:
        kept = "what was measured is kept" if measured else "nothing was measured"
        complain(PROGRAM, f"{result.problem}: {kept}")
    return result.code

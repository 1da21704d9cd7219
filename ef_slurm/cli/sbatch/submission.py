"""From what was given to a job with an answer: the one way of `ef-sbatch` and of Python's `submit`.

Nothing here prints: what a person should know goes through a `Voice`.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ef_slurm.api.client import Client, FailureError, UnreachableError, expect
from ef_slurm.api.messages import FindCurves, KnownCurves, ListJobs, Ping, Pong
from ef_slurm.cli.common.errors import CommandError, UsageError
from ef_slurm.cli.common.options import ParsedOption
from ef_slurm.cli.common.problems import Problems
from ef_slurm.cli.sbatch.array_submit import PreparedMembers, check_array, submit_array
from ef_slurm.cli.sbatch.continuation import Source, find_source, refuse_what_is_done
from ef_slurm.cli.sbatch.curves import UNKNOWN, StatedCurves, known_type, remembered
from ef_slurm.cli.sbatch.environment import environment_options, without_partition
from ef_slurm.cli.sbatch.expiry import remove_expired
from ef_slurm.cli.sbatch.given import Given, go_on
from ef_slurm.cli.sbatch.help import USAGE
from ef_slurm.cli.sbatch.longest_time import longest_time
from ef_slurm.cli.sbatch.node_choice import node_choice
from ef_slurm.cli.sbatch.per_gpu import PerGpuChoice, per_gpu_choice
from ef_slurm.cli.sbatch.prepare import (
    Prepared,
    batch_script,
    check_site,
    curves_of,
    prepare,
    state_dir_name,
)
from ef_slurm.cli.sbatch.script import Script, from_copy, from_text, from_words, wrapped
from ef_slurm.cli.sbatch.submission_options import SubmissionOptions, submission_options
from ef_slurm.cli.sbatch.submit import Answer, Patience, submit
from ef_slurm.formats.zone import local_zone
from ef_slurm.model import UNSPECIFIED, ArrayMember, Dependency, JobList, PerGpu
from ef_slurm.siteconfig.tables import Serves, SiteConfig
from ef_slurm.siteconfig.wrong_combinations import nobody_runs, somebody_elses_partition
from ef_slurm.slurm.errors import NoSuchJobError, SlurmError
from ef_slurm.slurm.guard import guard_of
from ef_slurm.slurm.interface import Slurm

STARTING_SECONDS = 10.0
"""For which a daemon of one's own is waited for that does not answer: it may just be starting."""


@dataclass(frozen=True, slots=True)
class Voice:
    """Where sentences for whoever submits go.

    Args:
        note: takes what is good to know.
        warn: takes what must be known.
    """

    note: Callable[[str], None]
    warn: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class AskedFor:
    """What was given, read and checked as far as neither Slurm nor the daemon is needed for it.

    Args:
        state_dir: to be made.
        words: of the command line, and of the environment.
        now: the present, UTC epoch seconds.
        problems: what is wrong so far; with any, the rest is only good for finding more.
    """

    requested: SubmissionOptions
    script: Script
    state_dir: Path
    words: tuple[str, ...]
    now: float
    problems: Problems


@dataclass(frozen=True, slots=True)
class Ready:
    """A submission that can be handed in.

    Args:
        nobody: why no verdict will come; "" where somebody is there to judge.
        members: of an array, what prepares each by its number and the array's name; of others none.
    """

    prepared: Prepared
    nobody: str
    members: PreparedMembers | None = None


def source_of(given: Given, client: Client, slurm: Slurm, voice: Voice) -> Source | None:
    """What `--continue` names; None without it.

    Raises:
        UsageError: as `find_source` does.
    """
    texts = [one.value or "" for one in given.options if one.option.name == "continue"]
    return find_source(texts[-1], client, slurm, voice.note) if texts else None


def asked_for(
    given: Given,
    source: Source | None,
    site: SiteConfig,
    script: Script | None = None,
    problems: Problems | None = None,
) -> AskedFor:
    """Read script, options and environment; with a source, what is not given is as it was there.

    Args:
        script: where it is no file that was given.
        problems: what is wrong already.
    """
    found = Problems() if problems is None else problems
    environment, notes = without_partition(
        environment_options(os.environ, found), site.slurm.partition
    )
    if script is None:
        given = given if source is None else go_on(given, source)
        script = wrapped("true")
        with found.collecting():
            script = _script(given.options, given.rest, source, found)
    now, zone = time.time(), local_zone()
    directives = (*script.options, *given.before)
    requested = submission_options(
        given.options, directives, now, zone, environment=environment, problems=found
    )
    requested = replace(requested, notes=(*notes, *requested.notes))
    check_site(requested, script, site, found)
    name = requested.job_name or script.name
    state_dir = requested.state_dir or site.jobs.state_root / state_dir_name(name, now, zone)
    with found.collecting():
        batch_script(requested, script, site, state_dir)
    words = (*(option.text for option in environment), *given.words)
    return AskedFor(requested, script, state_dir, words, now, found)


def made_ready(
    asked: AskedFor,
    source: Source | None,
    site: SiteConfig,
    slurm: Slurm,
    client: Client,
    voice: Voice,
) -> Ready:
    """Complete what was asked for with what daemon and Slurm know.

    Raises:
        UsageError: everything that is wrong with what was asked for; or no daemon can ever judge
            it, or an option does not fit the site.
        SlurmError: Slurm does not answer.
    """
    problems = asked.problems
    try:
        return _made_ready(asked, source, site, slurm, client, voice)
    except (CommandError, SlurmError, UnreachableError, FailureError) as error:
        if not problems:
            raise
        if isinstance(error, UsageError):
            problems.add(str(error))
        problems.tell()  # what its owner can mend counts more than who does not answer
        raise


def _made_ready(
    asked: AskedFor,
    source: Source | None,
    site: SiteConfig,
    slurm: Slurm,
    client: Client,
    voice: Voice,
) -> Ready:
    requested, problems = asked.requested, asked.problems
    with problems.collecting():
        _check_predecessors(requested.dependency, client, slurm)
    with problems.collecting():
        if source is not None:
            refuse_what_is_done(source, requested.iterations)
    pong = _daemon(client)
    nobody = "" if pong is not None else _nobody(site, slurm)
    types = _gpu_types(pong, site, slurm)
    curves = UNKNOWN
    with problems.collecting():
        if requested.gpu_type is not None:
            known_type(requested.gpu_type, types, "--gpu-type")
        curves = curves_of(
            requested, site, types, lambda: _remembered(client, requested, asked.script, types)
        )
    on_types = [kind for kind, _ in curves.curves] or (
        [requested.gpu_type] if requested.gpu_type else list(types)
    )
    all_nodes = slurm.nodes()
    nodes = node_choice(requested, site.slurm.partition, all_nodes, problems)
    per_gpu = PerGpuChoice(PerGpu())
    with problems.collecting():
        per_gpu = per_gpu_choice(requested, site, slurm, on_types, nodes.of(all_nodes))
    problems.tell()
    _tell(nobody, curves, (*requested.notes, *nodes.notes, *per_gpu.notes), voice)
    longest = math.inf
    if requested.time_limit is None:
        longest = longest_time(requested, site, slurm)

    def prepared(state_dir: Path, array: ArrayMember | None = None) -> Prepared:
        return prepare(
            requested,
            asked.script,
            curves,
            site,
            per_gpu,
            nodes,
            state_dir=state_dir,
            longest=longest,
            now=asked.now,
            environment=os.environ,
            words=asked.words,
            source=source,
            array=array,
        )

    if source is not None:
        voice.note(f"Goes on from iteration {source.done}, of {source.directory}")
    if requested.array is None:
        return Ready(prepared(asked.state_dir), nobody)
    members = PreparedMembers(requested.array, requested.together, asked.state_dir, prepared)
    check_array(members, slurm)
    return Ready(members.one(requested.array.numbers[0], 0), nobody, members)


def _tell(nobody: str, curves: StatedCurves, notes: Sequence[str], voice: Voice) -> None:
    if nobody:
        voice.warn(nobody)
    if curves.growth:
        voice.note(f"Speed {curves.source}")
    if curves.iterations is not None:
        voice.note(
            f"Iterations {curves.iterations}, as your last run's script said; if this one does "
            "more, it is judged anew (--iterations=N says how many)"
        )
    for line in notes:
        voice.note(line)


def hand_in(
    ready: Ready, site: SiteConfig, slurm: Slurm, client: Client, patience: Patience, voice: Voice
) -> Answer:
    """Submit it, and await the answer.

    Raises:
        SlurmError, FailureError, OSError: as `submit` does.
    """
    if ready.members is not None:
        raise UsageError("--array: ef-sbatch submits arrays")
    (answer,) = hand_in_all(ready, site, slurm, client, patience, voice)
    return answer


def hand_in_all(
    ready: Ready, site: SiteConfig, slurm: Slurm, client: Client, patience: Patience, voice: Voice
) -> tuple[Answer, ...]:
    """The same of an array too: an answer for each of its jobs."""
    answers: tuple[Answer, ...]
    if ready.members is not None:
        answers = submit_array(ready.members, client, slurm, patience)
    else:
        answers = (submit(ready.prepared, client, slurm, patience),)
    if site.jobs.keep_state_days:
        remove_expired(client, site.jobs, ready.prepared.request.submitted, voice.note)
    if answers[0].warning:
        voice.warn(answers[0].warning)
    for line in answers[0].messages.splitlines():
        voice.note(line)
    return answers


def patience_of(
    site: SiteConfig, verdict_timeout: float | None, wait_verdict: bool, nobody: str = ""
) -> Patience:
    """How long to wait; where nobody is there to judge, for one who is just being started.

    Args:
        verdict_timeout: of the caller, seconds; None for the site's.
        wait_verdict: whether to wait for what has to be measured first.
    """
    measured = math.inf if verdict_timeout is None else verdict_timeout
    usual = site.jobs.verdict_wait
    if nobody:
        usual = min(usual, STARTING_SECONDS)
    return Patience(
        usual if verdict_timeout is None else verdict_timeout,
        measured if wait_verdict else 0.0,
        nobody,
    )


def _script(
    parsed: Sequence[ParsedOption],
    rest: Sequence[str],
    source: Source | None,
    problems: Problems,
) -> Script:
    for option in parsed:
        if option.option.name == "wrap":
            if rest:
                raise UsageError(f"--wrap and a script: give one of them, not also {rest[0]!r}")
            return wrapped(option.value or "")
    if rest:
        return from_words(rest, problems)
    if source is not None and source.words is not None:
        return from_copy(source.directory, problems)
    text = "" if sys.stdin.isatty() else sys.stdin.read()
    if not text:
        raise UsageError(f"which script?\n{USAGE}")
    return from_text(text, problems)


def _check_predecessors(dependency: Dependency, client: Client, slurm: Slurm) -> None:
    """Refuse to wait for what is no job, before anything is submitted.

    Raises:
        UsageError: neither ef-slurm nor Slurm knows one of the jobs.
    """
    named = {one.job_id for one in dependency.conditions if one.job_id is not None}
    if not named:
        return
    with suppress(UnreachableError):
        listed = expect(JobList, client.ask(ListJobs(job_ids=tuple(sorted(named)))))
        named -= {job.job_id for job in listed.jobs}
    for job_id in sorted(named):
        try:
            slurm.job(job_id)
        except NoSuchJobError:
            raise UsageError(
                f"--dependency: job {job_id} is not known: neither ef-slurm nor Slurm has it "
                "(any more)"
            ) from None


def _daemon(client: Client) -> Pong | None:
    """Who will judge it; None where nobody answers."""
    with suppress(UnreachableError):
        return expect(Pong, client.ask(Ping()))
    return None


def _nobody(site: SiteConfig, slurm: Slurm) -> str:
    """Why no verdict will come, where no daemon answers; "" where one may come back.

    Raises:
        UsageError: none can ever come, and nothing was submitted.
    """
    if site.daemon.serves is Serves.EVERYONE:
        return ""
    if guard_of(slurm, site.slurm.partition).is_ours:
        raise UsageError(somebody_elses_partition(site))
    return nobody_runs(site)


def _gpu_types(pong: Pong | None, site: SiteConfig, slurm: Slurm) -> tuple[str, ...]:
    """The GPU types that curves may be for: the daemon's, or where it has none yet Slurm's."""
    types = () if pong is None else pong.gpu_types
    if not types:
        nodes = [n for n in slurm.nodes() if site.slurm.partition in n.partitions]
        found = {gpu.gpu_type or site.nodes.gpu_type for node in nodes for gpu in node.gpus}
        types = tuple(sorted(found))
    if not types:
        raise CommandError(f"no node of the partition {site.slurm.partition!r} has GPUs")
    return types


def _remembered(
    client: Client, requested: SubmissionOptions, script: Script, types: Sequence[str]
) -> StatedCurves:
    """What the profile library knows of the training that the options describe.

    Options that are not given are those that the script of the run before said.
    """
    model_name = requested.model_name or script.model_name
    if not model_name:
        return UNKNOWN
    try:
        wanted = FindCurves(
            model_name, requested.global_batch_size, requested.precision or UNSPECIFIED
        )
        found = expect(KnownCurves, client.ask(wanted))
    except UnreachableError:
        return UNKNOWN  # whoever registers it looks again
    curves = remembered(found.curves, requested.gpu_type, types, local_zone())
    if not curves.curves:
        return curves
    counts = requested.iterations is None and requested.epochs is None
    return replace(
        curves,
        iterations=found.iterations if counts else None,
        global_batch_size=found.global_batch_size if requested.global_batch_size is None else None,
    )

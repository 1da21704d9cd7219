"""`ef-schedd check --try`: a job of an ordinary user goes through the whole chain, step by step.

Each step is told with the seconds that it took. What fails names the line to change, and nothing of
the job is left behind but its row in the queue's history.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

from ef_slurm.api.client import Client, FailureError, UnreachableError, await_status, expect
from ef_slurm.api.messages import Ping, Pong, Until
from ef_slurm.cli.common.errors import CommandError, ExitCode
from ef_slurm.cli.schedd import trial_job
from ef_slurm.cli.schedd.person import Person
from ef_slurm.daemon.findings import Finding, Level
from ef_slurm.daemon.observe.report_files import read_job_reports
from ef_slurm.model import FINAL, JobState, JobView, Outcome, PromiseOutcome

SUBMIT_SECONDS = 90.0
START_SECONDS = 180.0
"""From the promise to the start on GPUs that are free."""
END_SECONDS = 120.0
"""From the start to the end of a job of ten seconds."""
_POLL_SECONDS = 0.5


def try_it(
    connect: Callable[[], Client], who: Person, config_file: Path | None
) -> Iterator[Finding]:
    """Send the job; what is found, as it is found.

    Args:
        connect: the way to the daemon.
        config_file: given by --config; None for the one that the user's commands find.
    """
    try:
        with closing(connect()) as client:
            pong = expect(Pong, client.ask(Ping()))
            yield from _Trial(client, who, config_file).run(pong.gpu_types)
    except (UnreachableError, FailureError) as error:
        yield _bad(f"the daemon does not answer: {error}")


def _good(text: str, seconds: float) -> Finding:
    return Finding(Level.OK, "try", f"{seconds:5.1f} s  {text}")


def _bad(text: str) -> Finding:
    return Finding(Level.ERROR, "try", text)


class _Trial:
    """One job on its way.

    Args:
        client: asks the daemon.
    """

    def __init__(self, client: Client, who: Person, config_file: Path | None) -> None:
        self._client = client
        self._who = who
        self._config = () if config_file is None else (f"--config={config_file}",)
        self._began = time.monotonic()
        self._job_id = 0
        self._state_dir = ""

    def run(self, gpu_types: Sequence[str]) -> Iterator[Finding]:
        """All steps; the first that fails is the last."""
        try:
            if not gpu_types:
                yield _bad("the daemon knows no GPUs yet: see what is said under nodes")
                return
            yield from self._submit(gpu_types[0])
            if self._job_id:
                yield from self._follow()
        finally:
            self._clean_up()

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _submit(self, gpu_type: str) -> Iterator[Finding]:
        name = self._who.account.name
        words = [_program("ef-sbatch"), *self._config, "--json", *trial_job.options(gpu_type)]
        try:
            done = self._who.run(words, SUBMIT_SECONDS)
        except subprocess.TimeoutExpired:
            yield _bad(f"ef-sbatch of {name} did not end within {SUBMIT_SECONDS:.0f} s")
            return
        except OSError as error:
            yield _bad(f"{words[0]} cannot be run as {name}: {error.strerror}")
            return
        said = "; ".join(line.removeprefix("ef-sbatch: ") for line in done.stderr.splitlines())
        try:
            answer = json.loads(done.stdout)
            self._job_id = int(answer["job_id"] or 0)
            self._state_dir, outcome = str(answer["state_dir"]), answer["outcome"]
        except (ValueError, KeyError, TypeError):
            yield _bad(f"ef-sbatch of {name} took nothing (exit code {done.returncode}): {said}")
            return
        if "warning:" in said:
            yield Finding(Level.ERROR, "try", said)
        if outcome == Outcome.PROMISED.value:
            yield _good(
                f"job {self._job_id} of {name} is in Slurm, held, and promised", self._seconds
            )
            return
        kept, self._job_id = self._job_id, 0 if outcome == Outcome.REJECTED.value else self._job_id
        yield _bad(
            f"job {kept or ''} of {name} was not promised, ten seconds on one GPU within an hour: "
            f"{said or outcome}"
        )
        self._cancel()

    def _follow(self) -> Iterator[Finding]:
        job = self._until(lambda view: view.started is not None, START_SECONDS)
        if job.started is None:
            yield _bad(
                f"job {self._job_id} did not start within {START_SECONDS:.0f} s"
                + (f": {job.note}" if job.note else "")
                + ": are GPUs free, and may the daemon release others' jobs? See under rights"
            )
            return
        nodes = ",".join(job.nodes)
        yield _good(f"the daemon shaped and released it: it runs on {nodes}", self._seconds)
        job = self._until(lambda view: view.iteration > 0, END_SECONDS)
        if job.iteration <= 0 and job.state is not JobState.COMPLETED:
            yield _bad(
                f"the daemon sees no report in {job.state_dir}: {nodes}, or the daemon's host, "
                "does not share jobs.state_root, or the daemon may not read it (see there)"
            )
            return
        yield _good("the daemon reads what it reports from its node", self._seconds)
        yield from self._orders(job)
        job = self._until(lambda view: view.state in FINAL, END_SECONDS)
        if job.state is not JobState.COMPLETED:
            yield _bad(
                f"it is {job.state.value}, not complete{f': {job.note}' if job.note else ''}"
            )
            return
        kept = job.promise_outcome is PromiseOutcome.KEPT
        yield _good(f"complete, promise {'kept' if kept else 'open'}", self._seconds)

    def _orders(self, job: JobView) -> Iterator[Finding]:
        try:
            is_there = Path(job.state_dir).exists()
        except OSError:
            return  # this user may not look
        # As the daemon does: root must not wait for what that user may put there.
        reports = read_job_reports(job.state_dir, self._who.account.uid)
        launch = reports.launch
        if launch is None and is_there and reports.trouble:
            return
        if launch is None:
            yield _bad(
                f"{job.state_dir}, where the job writes on its node, is empty here: this host does "
                "not share jobs.state_root with it"
            )
        elif launch.finds_orders:
            yield _good("orders reach it on its node", self._seconds)

    def _until(self, there: Callable[[JobView], bool], seconds: float) -> JobView:
        """The job as soon as something holds, it has ended, or time is up."""
        end = time.monotonic() + seconds
        while True:
            view = await_status(self._client, self._job_id, Until.END, _POLL_SECONDS).job
            if there(view) or view.state in FINAL or time.monotonic() > end:
                return view

    def _cancel(self) -> None:
        if self._job_id:
            self._quietly(_program("ef-scancel"), *self._config, "--quiet", str(self._job_id))

    def _clean_up(self) -> None:
        if not self._state_dir:
            return
        view = None
        if self._job_id:
            with suppress(UnreachableError, FailureError):
                view = self._until(lambda view: view.state in FINAL, 0.0)
            if view is None or view.state not in FINAL:
                self._cancel()
        self._quietly("rm", "-rf", "--", self._state_dir)

    def _quietly(self, *command: str) -> None:
        try:
            self._who.run(command, SUBMIT_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            return  # what is left behind is one held job, or one small directory


def _program(name: str) -> str:
    """A command of ours: the one beside this one, else the one in PATH."""
    beside = Path(shutil.which(sys.argv[0]) or sys.argv[0]).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise CommandError(f"{name} is not installed here: login hosts need it", ExitCode.USAGE)
    return found

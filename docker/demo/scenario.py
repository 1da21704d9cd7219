"""The demo: six jobs arrive within two minutes, and their deadlines are kept.

Runs as an ordinary user on the login node; submits with ef-sbatch, watches through the daemon as
ef-squeue does. `docker/minislurm demo` calls it; by hand, on any cluster with ef-slurm:

    python3 -m demo.scenario --out ~/demo
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from demo.jobs import PATIENCE_SECONDS, DemoJob, Request, slowed_down, sooner_seconds
from demo.report import TERMINAL, Entry, letters, page, picture
from demo.timeline import Timeline, holding
from ef_slurm.api.client import Client, UnreachableError, expect
from ef_slurm.api.messages import Explain, ListJobs
from ef_slurm.cli.common.connect import connect, slurm_of
from ef_slurm.formats.hostlist import compress
from ef_slurm.formats.job_words import done, promise_word
from ef_slurm.model import (
    FINAL,
    CompanionState,
    EventKind,
    JobList,
    JobState,
    JobView,
    PromiseOutcome,
    Story,
)
from ef_slurm.siteconfig.load import load

TRAIN = Path(__file__).with_name("train.py")
BATCH = 64
READING_SECONDS = 4.0
"""What a person needs to read a counter-offer and paste it."""
ROW_SECONDS = 5.0
LIMIT_SECONDS = 480.0
PICTURE_WIDTH = 75
GREW = "grew while it trained"


@dataclass
class Submitted:
    """A job of the demo in the queue."""

    job: DemoJob
    job_id: int
    at: float


class Scenario:
    """One run of the demo."""

    def __init__(
        self, client: Client, timeline: Timeline, factor: float, train: Path = TRAIN
    ) -> None:
        self.train = train
        self.client = client
        self.timeline = timeline
        self.factor = factor
        self.jobs = slowed_down(factor)
        self.letters = letters([job.name for job in self.jobs])
        self.started = time.time()
        self.submitted: dict[str, Submitted] = {}
        self.story_lines: list[tuple[float, str]] = []
        self.seen_events: set[int] = set()
        self.views: dict[str, JobView] = {}
        self.grown: dict[str, str] = {}
        self.kept_back = 0.0

    def run(self) -> None:
        """Submit each job at its time; watch until all have ended."""
        todo = list(self.jobs)
        last_row = -ROW_SECONDS
        while True:
            now = self.elapsed()
            if todo and now >= todo[0].at + self.kept_back and not self.too_early(todo[0], now):
                self.arrive(todo.pop(0))
                continue
            self.look()
            if now - last_row >= ROW_SECONDS:
                self.row()
                last_row = now
            if not todo and all(view.state in FINAL for view in self.views.values()):
                self.look()
                return
            if now > LIMIT_SECONDS * self.factor:
                raise SystemExit("the demo did not end in time: see ef-squeue -a")
            following = todo[0].at + self.kept_back if todo else now + 1
            time.sleep(max(0.05, min(1.0, following - now)))

    def too_early(self, job: DemoJob, now: float) -> bool:
        """Whether a job waits for another one's growth; those after it then come later, too."""
        other = self.views.get(job.after)
        if other is None or job.after in self.grown or other.state in FINAL:
            return False
        self.kept_back = min(now - job.at, PATIENCE_SECONDS * self.factor)
        return now < job.at + PATIENCE_SECONDS * self.factor

    def elapsed(self) -> float:
        return time.time() - self.started

    def say(self, text: str, *, record: bool = True) -> None:
        """A line of the story."""
        at = self.elapsed()
        if record:
            self.story_lines.append((at, text))
        click.echo(f"{click.style(f'{at:5.0f} s', dim=True)}  {text}")

    def say_of(self, name: str, text: str) -> None:
        """A line of the story on one job: what follows its name."""
        self.story_lines.append((self.elapsed(), f"{name}{text}"))
        self.say(f"{self.coloured(name)}{text}", record=False)

    # Submitting

    def arrive(self, job: DemoJob) -> None:
        click.echo()
        self.say_of(job.name, f" arrives: {job.story}")
        match job.request:
            case Request.BEST_EFFORT:
                self.submit(job, "--best-effort")
            case Request.DEADLINE | Request.UNKNOWN:
                self.submit(job, f"--deadline=+{job.deadline:.0f}s")
            case Request.TOO_SOON:
                self.accept(job, self.submit(job, f"--deadline=+{job.deadline:.0f}s"))
            case Request.SOONER_THAN_OFFERED:
                probe = self.ef_sbatch(job, "--deadline=+5s", "--test-only")
                sooner = int(probe["earliest_deadline"] - sooner_seconds(self.factor))
                # Where starts are very quick nobody could make it that soon, even alone.
                self.accept(
                    job, self.submit(job, f"--deadline=uts{sooner}", "--if-infeasible=wait")
                )

    def accept(self, job: DemoJob, answer: dict[str, Any]) -> None:
        """Take the offer that came with a refusal, if it was one."""
        if answer["outcome"] == "rejected":
            self.wait(READING_SECONDS)
            self.say(f"{job.name} takes the offer")
            self.submit(job, f"--deadline=uts{int(answer['offer'])}")

    def submit(self, job: DemoJob, *options: str) -> dict[str, Any]:
        answer = self.ef_sbatch(job, *options)
        shown = " ".join(options)
        told = f" --iterations={job.iterations} --throughput={job.throughput}"
        if job.request is Request.UNKNOWN:
            told = ""
        self.say(f"$ ef-sbatch {shown}{told} train.py …")
        self.say(f"  {self.verdict(answer)}")
        if answer["outcome"] != "rejected":
            job_id = answer["job_id"]
            assert isinstance(job_id, int)
            self.submitted[job.name] = Submitted(job, job_id, self.elapsed())
        return answer

    def ef_sbatch(self, job: DemoJob, *options: str) -> dict[str, Any]:
        told = [
            f"--iterations={job.iterations}", f"--global-batch-size={BATCH}",
            f"--throughput={job.throughput}",
        ]  # fmt: skip
        says = []
        if job.request is Request.UNKNOWN:
            told, says = [], [f"--iterations={job.iterations}", f"--batch={BATCH}"]
        command = [
            "ef-sbatch", "--json", f"--job-name={job.name}", f"--model-name={job.name}", *told,
            *options, str(self.train), f"--pace={job.pace}", *says,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 3):
            raise SystemExit(f"{shlex.join(command)}\n{done.stdout}{done.stderr}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def verdict(self, answer: dict[str, Any]) -> str:
        def after(key: str) -> str:
            return f"{answer[key] - self.started:.0f} s"

        job = f"job {answer['job_id']}"
        match answer["outcome"]:
            case "promised":
                return (
                    f"{job}: PROMISED by {after('deadline')}: {answer['share']} GPUs are enough, "
                    f"predicted finish {after('planned_finish')}"
                )
            case "rejected":
                return (
                    f"REFUSED: {after('deadline')} cannot be promised; earliest: {after('offer')}"
                )
            case "waitlisted":
                return f"{job}: WAITLISTED: {after('deadline')} cannot be promised yet"
            case None:
                sizes = " and ".join(str(size) for size in answer["measured_on"])
                return f"{job}: nobody knows its speed: it is measured on {sizes} GPUs first"
            case _:
                return f"{job}: best effort"

    # Watching

    def wait(self, seconds: float) -> None:
        end = time.time() + seconds
        while time.time() < end:
            self.look()
            time.sleep(0.5)

    def look(self) -> None:
        """Take a sample, and tell what changed."""
        ids = tuple(entry.job_id for entry in self.submitted.values())
        try:
            jobs = expect(JobList, self.client.ask(ListJobs(job_ids=ids))).jobs if ids else ()
        except UnreachableError as error:
            self.say(f"(no answer: {error})", record=False)
            return
        self.timeline.see(self.elapsed(), holding(jobs))
        for view in jobs:
            before = self.views.get(view.name)
            self.views[view.name] = view
            if before is None or _shown(before) != _shown(view):
                self.tell(view)

    def tell(self, view: JobView) -> None:
        """The events that have come since the last look at this job."""
        story = expect(Story, self.client.ask(Explain(view.job_id)))
        for event in story.events:
            if event.id in self.seen_events:
                continue
            self.seen_events.add(event.id)
            if event.kind is EventKind.SHARE or (
                event.kind is EventKind.VERDICT and event.at > self.started + self._arrival(view)
            ):
                self.say_of(view.name, f": {event.message}")
            elif event.data.get("companion_state") == CompanionState.JOINED.value:
                self.grown[view.name] = event.message
                self.say_of(view.name, f" {GREW}: {event.message}")
        if view.state is JobState.COMPLETED:
            kept = "" if view.promise_outcome is None else f", promise {promise_word(view).lower()}"
            self.say(f"{view.name}: completed{kept}")

    def _arrival(self, view: JobView) -> float:
        return self.submitted[view.name].at + 1.0

    def row(self) -> None:
        """The present allocation in one line."""
        cells = self.timeline.cells(self.timeline.samples[-1][1] if self.timeline.samples else ())
        nodes = " ".join("".join(self.cell(owner) for owner in row) for row in cells)
        progress = "  ".join(
            f"{view.name} {100 * done(view):.0f}%"
            for view in self.views.values()
            if view.state not in FINAL
        )
        click.echo(f"{click.style(f'{self.elapsed():5.0f} s', dim=True)}  {nodes}  {progress}")

    def cell(self, owner: str | None) -> str:
        if owner is None:
            return click.style("·", dim=True)
        return click.style(self.letters[owner], fg=self.colour(owner), bold=True)

    def colour(self, name: str) -> str:
        names = [job.name for job in self.jobs]
        return TERMINAL[names.index(name) % len(TERMINAL)]

    def coloured(self, name: str) -> str:
        return click.style(name, fg=self.colour(name), bold=True)

    # The end

    def entries(self) -> list[Entry]:
        """The jobs as the report shows them."""
        entries = []
        for name, submitted in self.submitted.items():
            view = self.views[name]

            def after(at: float | None) -> float | None:
                return None if at is None else at - self.started

            entries.append(
                Entry(
                    job_id=view.job_id,
                    name=name,
                    request=submitted.job.request.value,
                    submitted=submitted.at,
                    deadline=after(view.deadline),
                    started=after(view.started),
                    ended=after(view.ended),
                    promise="-" if view.promise_outcome is None else promise_word(view),
                    starts=view.generation,
                    story=submitted.job.story,
                    grown=self.grown.get(name, ""),
                )
            )
        return entries

    def draw(self, width: int) -> None:
        """The picture on the terminal."""
        click.echo()
        click.echo("GPUs over time")
        for label, lane in picture(self.timeline, width):
            click.echo(f"{label:>4} " + "".join(self.cell(owner) for owner in lane))
        end = f"{self.elapsed():.0f} s"
        click.echo(f"     0 s{end:>{width - 3}}")

    def failures(self) -> list[str]:
        """What did not go as promised."""
        wrong = []
        for name, view in self.views.items():
            if view.state is not JobState.COMPLETED:
                why = view.note or "its story says why"
                wrong.append(f"{name} is {view.state.value}: {why}")
            if view.promise_outcome not in (None, PromiseOutcome.KEPT):
                wrong.append(f"the promise to {name} is {promise_word(view).lower()}")
        return wrong


def _shown(view: JobView) -> tuple[object, ...]:
    """What the story tells changes of."""
    return view.state, view.share, view.companions


def main(arguments: Sequence[str]) -> int:
    """Run the demo; 0 if every promise was kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory for the report")
    parser.add_argument("--slowdown", type=float, default=1.0, help="for a slower machine")
    parser.add_argument(
        "--train", type=Path, default=TRAIN, help="another script with these options"
    )
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    site = load()
    slurm = slurm_of(site)
    nodes = [n for n in slurm.observe().nodes if site.slurm.partition in n.partitions]
    click.echo(
        f"{sum(node.gpu_total for node in nodes)} GPUs: {compress([n.name for n in nodes])}, "
        f"{nodes[0].gpu_total} each"
    )
    timeline = Timeline([node.name for node in nodes], nodes[0].gpu_total)
    with closing(connect(site, lambda: slurm)) as client:
        scenario = Scenario(client, timeline, options.slowdown, options.train)
        scenario.run()
    scenario.draw(PICTURE_WIDTH)
    click.echo()
    ids = ",".join(str(entry.job_id) for entry in scenario.submitted.values())
    sys.stdout.flush()
    subprocess.run(["ef-squeue", f"--jobs={ids}", "-o", TABLE], check=False)
    report = options.out / "report.html"
    report.write_text(page(timeline, scenario.entries(), scenario.story_lines), encoding="utf-8")
    click.echo(f"\nReport: {report}")
    for name, words in scenario.grown.items():
        click.echo(f"{name} {GREW}: {words}.")
    failures = scenario.failures()
    for failure in failures:
        click.echo(f"BROKEN: {failure}", err=True)
    if failures:
        click.echo(
            "Jobs may be late while other programs keep this machine busy; try again later.",
            err=True,
        )
    else:
        click.echo(click.style("Every promise was kept.", fg="green", bold=True))
    return 1 if failures else 0


TABLE = "%i %j %k %T %V %E %e %L %q %g"

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

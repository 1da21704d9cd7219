"""The demo's scenario: who waits for whose growth, and what is told of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from demo.jobs import JOBS, PATIENCE_SECONDS
from demo.scenario import GREW, Scenario, Submitted
from demo.timeline import Timeline

from ef_slurm.api.messages import Explain, ListJobs, Request, Response
from ef_slurm.model import (
    ACTOR,
    CompanionState,
    CompanionView,
    Event,
    EventKind,
    JobList,
    JobState,
    Story,
)
from tests.unit.cli.conftest import VIEW

WORDS = "trains on 16 GPUs, n[1-2] among them; training stood still for 1.2 s"
BERT, GPT = JOBS[1], JOBS[2]


class Daemon:
    """Knows bert, which trains."""

    def __init__(self) -> None:
        self.bert = replace(VIEW, name="bert", job_id=2, share=16)
        self.events: tuple[Event, ...] = ()

    def ask(self, request: Request) -> Response:
        if isinstance(request, ListJobs):
            return JobList(0.0, (self.bert,))
        assert isinstance(request, Explain)
        return Story(self.bert, self.events)

    def close(self) -> None:
        """Nothing."""

    def grows(self, state: CompanionState) -> None:
        self.bert = replace(self.bert, companions=(CompanionView(3, ("n1", "n2"), state),))
        data = {"companion": 1, "companion_state": state.value}
        words = WORDS if state is CompanionState.JOINED else "its companion 3 starts on n[1-2]"
        event = Event(1.0, EventKind.STATE, ACTOR, words, 5, data, id=len(self.events) + 1)
        self.events = (*self.events, event)


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
def scenario(daemon: Daemon) -> Scenario:
    scenario = Scenario(daemon, Timeline(["n1", "n2", "n3", "n4"], 4), 1.0)
    scenario.submitted["bert"] = Submitted(BERT, 2, 0.0)
    scenario.look()
    return scenario


def test_a_growth_is_told_and_waited_for(
    daemon: Daemon, scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    assert GPT.after == "bert"
    assert scenario.too_early(GPT, GPT.at + 1.0)
    daemon.grows(CompanionState.RUNNING)
    scenario.look()
    assert scenario.too_early(GPT, GPT.at + 8.0)
    daemon.grows(CompanionState.JOINED)
    scenario.look()
    scenario.look()
    assert not scenario.too_early(GPT, GPT.at + 9.0)
    assert scenario.kept_back == 8.0
    assert scenario.grown == {"bert": WORDS}
    assert capsys.readouterr().out.count(f" {GREW}: {WORDS}") == 1
    assert [text for _, text in scenario.story_lines] == [f"bert {GREW}: {WORDS}"]


def test_patience_ends(scenario: Scenario) -> None:
    assert scenario.too_early(GPT, GPT.at + PATIENCE_SECONDS - 0.1)
    assert not scenario.too_early(GPT, GPT.at + PATIENCE_SECONDS + 0.1)
    assert scenario.kept_back == PATIENCE_SECONDS


def test_whoever_has_ended_is_not_waited_for(daemon: Daemon, scenario: Scenario) -> None:
    daemon.bert = replace(daemon.bert, state=JobState.COMPLETED)
    scenario.look()
    assert not scenario.too_early(GPT, GPT.at)


def test_nobody_else_waits(scenario: Scenario) -> None:
    assert not any(scenario.too_early(job, job.at) for job in JOBS if not job.after)

"""A failing story becomes the shortest that fails in the same way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import fields, replace

from tests.simulation.faults import ViolationError
from tests.simulation.life import play
from tests.simulation.story import Event, Story, Submitted


def failure(story: Story) -> str | None:
    """What is wrong with a story, without its numbers; None where it ends well."""
    try:
        play(story)
    except ViolationError as violation:
        return _kind(str(violation))
    return None


def _kind(text: str) -> str:
    return re.sub(r"\d+", "#", text)[:40]


def shrunk(story: Story, fails: Callable[[Story], str | None] = failure) -> Story:
    """The same failure with as few events as possible, each as plain as possible."""
    wanted = fails(story)
    if wanted is None:
        raise ValueError("the story ends well")
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller(story):
            if fails(candidate) == wanted:
                story, smaller = candidate, True
                break
    return story


def _smaller(story: Story) -> Iterator[Story]:
    events = story.events
    half = len(events) // 2
    if half > 1:
        yield replace(story, events=events[:half])
        yield replace(story, events=events[half:])
    for at in range(len(events)):
        yield replace(story, events=events[:at] + events[at + 1 :])
    for plain in (
        replace(story, types=1),
        replace(story, private=False),
        replace(story, resubmits=False),
        replace(story, as_owner=False),
        replace(story, accounting=False),
        replace(story, min_job_age=300.0),
    ):
        if plain != story:
            yield plain
    for at, event in enumerate(events):
        for plainer in _plainer(event):
            yield replace(story, events=(*events[:at], plainer, *events[at + 1 :]))


def _plainer(event: Event) -> Iterator[Event]:
    if event.during:
        yield replace(event, during=0)
    if event.job is None:
        return
    plain = Submitted()
    for each in fields(Submitted):
        if each.name not in ("iterations", "deadline") and getattr(event.job, each.name) != (
            value := getattr(plain, each.name)
        ):
            yield replace(event, job=replace(event.job, **{each.name: value}))

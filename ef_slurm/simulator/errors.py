"""Errors of the simulator, worded for the person who wrote the input."""

from __future__ import annotations


class SimulatorError(Exception):
    """Something that the person at the keyboard can put right. Its text is the whole message."""


class InvariantError(SimulatorError):
    """The loop or a policy broke one of the simulator's own rules: a bug, not bad input."""

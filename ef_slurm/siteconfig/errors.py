"""A site configuration that cannot be used."""

from __future__ import annotations

from pathlib import Path


class SiteConfigError(Exception):
    """Names file, key, value and what would be valid.

    Args:
        path: the file.
        key: dotted ("policy.risk_order"); "" where the file as a whole is wrong.
        problem: what is wrong, as a sentence.
    """

    def __init__(self, path: Path, key: str, problem: str) -> None:
        super().__init__(f"{path}: {key}: {problem}" if key else f"{path}: {problem}")
        self.path = path
        self.key = key
        self.problem = problem

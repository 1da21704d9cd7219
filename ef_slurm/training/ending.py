"""How a run ends: what the daemon and the job's log are told, and how the process leaves."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from ef_slurm.contract import Exit, Phase
from ef_slurm.training.leaving import Unusable, leave
from ef_slurm.training.progress import Reporter


@dataclass(frozen=True, slots=True)
class Trained:
    """How far a run has come.

    Args:
        iteration: iterations done, over all launches.
        first_iteration_at, last_iteration_at: when this launch's first and last iteration ended,
            in UTC epoch seconds; None: it has done none.
    """

    iteration: int
    first_iteration_at: float | None
    last_iteration_at: float | None


class Ending:
    """Tells of the end of one run, on one rank; its threads and signals are given up already.

    Args:
        say: prints a line into the job's log.
    """

    def __init__(self, reporter: Reporter, say: Callable[[str], None]):
        self._reporter = reporter
        self._say = say

    def finished(self, trained: Trained, iterations: int, why_early: str, unsaved: str) -> None:
        """Training is complete.

        Args:
            iterations: of the whole training.
            why_early: if it has done fewer: why, in the script's words.
            unsaved: why its last checkpoint was not saved; "" if it was.

        Raises:
            SystemExit: it was not.
        """
        if unsaved:
            self._not_saved(f"the last checkpoint was not saved: {unsaved}")
        early = ""
        if trained.iteration < iterations:
            why = f": {why_early}" if why_early else ""
            early = f"finished early at iteration {trained.iteration}{why}"
        self._end(Phase.FINISHED, Exit.FINISHED, trained, early)
        self._say(early or f"finished at iteration {trained.iteration}")

    def stopped(self, trained: Trained, unsaved: str) -> NoReturn:
        """All ranks stop here, as ordered.

        Args:
            unsaved: why the checkpoint was not saved; "" if it was.

        Raises:
            SystemExit: always.
        """
        if unsaved:
            self._not_saved(f"stopped, but the checkpoint was not saved: {unsaved}")
        self._end(Phase.STOPPED, Exit.STOPPED, trained)
        self._say(f"stopped at iteration {trained.iteration}")
        # torchrun would take any other code of a worker for a failure; progress.json tells.
        under_torchrun = "TORCHELASTIC_RUN_ID" in os.environ
        leave(int(Exit.FINISHED if under_torchrun else Exit.STOPPED))

    def given_up(self, message: str) -> NoReturn:
        """The training cannot work as asked.

        Raises:
            Unusable: always.
        """
        self._say(message)
        self._failed(Exit.UNUSABLE, message)
        raise Unusable(message)

    def broken_off(self, error: BaseException) -> None:
        """The script has failed."""
        self._failed(1, f"{type(error).__name__}: {error}".splitlines()[0])

    def _not_saved(self, message: str) -> NoReturn:
        self._say(message)
        self._failed(Exit.NOT_SAVED, message)
        raise SystemExit(int(Exit.NOT_SAVED))

    def _end(self, phase: Phase, code: Exit, trained: Trained, message: str = "") -> None:
        self._reporter.enter(
            phase,
            iteration=trained.iteration,
            first_iteration_at=trained.first_iteration_at,
            last_iteration_at=trained.last_iteration_at,
            exit_code=int(code),
            message=message,
        )

    def _failed(self, code: int, message: str) -> None:
        self._reporter.enter(Phase.FAILED, exit_code=int(code), message=message)

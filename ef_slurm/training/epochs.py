"""A training counted in epochs: its iterations in groups, with room for an evaluation after each.

An epoch ends with the first iteration behind which no sample of it is left. What the script does
then (evaluation, a scheduler's step) belongs to it: a stop may fall between the two, and the
checkpoint says so. The launch that goes on yields the epoch again, without iterations, so that
nothing of it is left out and nothing is done twice.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ef_slurm.training.session import Session, Step

_ENDED = "ef_slurm.epochs_ended"
"""Key of `Counted.ended` in the state of the script's own that checkpoints keep."""


class Counted:
    """How far a training that counts in epochs is.

    Attributes:
        ended: epochs after which all is done that the script does then; None where it does not
            count in epochs.
    """

    def __init__(self) -> None:
        self.ended: int | None = None


class ExtraState:
    """A dictionary as a part of the checkpoint, and beside it how many epochs have ended."""

    def __init__(self, values: dict[str, Any], counted: Counted):
        self._values = values
        self._counted = counted

    def state_dict(self) -> dict[str, Any]:
        ended = self._counted.ended
        return {**self._values, **({} if ended is None else {_ENDED: ended})}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._values.clear()
        self._values.update(state)
        self._counted.ended = self._values.pop(_ENDED, None)


class Epoch:
    """One epoch: its iterations, as `Step`s.

    Attributes:
        number: from 0.
    """

    def __init__(self, number: int, steps: Iterator["Step"]):
        self.number = number
        self._steps = steps

    def __iter__(self) -> Iterator["Step"]:
        return self._steps


def epochs(
    session: "Session", steps: Callable[[Callable[[], bool]], Iterator["Step"]]
) -> Iterator[Epoch]:
    """The epochs that are left.

    Args:
        steps: the iterations up to where a condition holds or the training is over.

    Raises:
        RuntimeError: the script has left an epoch before its end.
    """
    counted = session.counted
    if counted.ended is None:
        counted.ended = session.epoch
    while not session.over or counted.ended < session.epoch:
        number = counted.ended

        def reached(number: int = number) -> bool:
            return session.epoch > number

        yield Epoch(number, steps(reached))
        if not (session.over or reached()):
            raise RuntimeError(
                f"epoch {number} was left at iteration {session.iteration}, before its end: "
                "session.stop() ends a training early"
            )
        counted.ended = max(number + 1, session.epoch)
        if session.over:
            return

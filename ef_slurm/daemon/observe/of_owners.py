"""What is remembered under names that owners make up, with a most for each of them and for all."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class OfOwners(Generic[V]):
    """Values by owner and by a name of theirs; those that were used last.

    An owner who makes up name after name pushes out what is remembered under their own others.
    Where all owners together have too many, whoever has most gives way.

    >>> kept = OfOwners(list, most_of_owner=2, most=3)
    >>> for owner, name in ("bob", "x"), ("ann", "a"), ("ann", "b"), ("ann", "c"):
    ...     kept.made(owner, name).append(name)
    >>> kept.get("ann", "a"), kept.get("ann", "c"), kept.get("bob", "x")
    (None, ['c'], ['x'])

    Args:
        new: makes the value of a name that is not known.
        most_of_owner: names of one owner; at least 1.
        most: names in all; at least 1.
    """

    def __init__(self, new: Callable[[], V], *, most_of_owner: int, most: int) -> None:
        self._new = new
        self._most_of_owner = most_of_owner
        self._most = most
        self._of: OrderedDict[str, OrderedDict[str, V]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        """Names in all."""
        return self._count

    def get(self, owner: str, name: str) -> V | None:
        """What is remembered, which is used by that; None for nothing."""
        names = self._of.get(owner)
        if names is None or name not in names:
            return None
        self._of.move_to_end(owner)
        names.move_to_end(name)
        return names[name]

    def made(self, owner: str, name: str) -> V:
        """The same; a new value where there was none."""
        known = self.get(owner, name)
        if known is not None:
            return known
        names = self._of.setdefault(owner, OrderedDict())
        made = names[name] = self._new()
        self._of.move_to_end(owner)
        self._count += 1
        if len(names) > self._most_of_owner:
            self._forget_one(owner)
        elif self._count > self._most:
            # Of those that have as many, the one who was not heard of for longest.
            self._forget_one(max(self._of, key=lambda one: len(self._of[one])))
        return made

    def _forget_one(self, owner: str) -> None:
        names = self._of[owner]
        names.popitem(last=False)
        self._count -= 1
        if not names:
            del self._of[owner]

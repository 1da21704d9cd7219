"""Who has booked which block, found by job and by place."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from ef_slurm.model import Reservation

_BUCKET_GPUS = 8
"""GPUs per entry of the index by place."""


class Booking(NamedTuple):
    """A reservation on the timetable, and whose it is."""

    job_id: str
    reservation: Reservation


class Bookings:
    """Those of one timetable. GPUs are indices (`GpuIndexSpace`).

    Most timetables are only ever added to: the index by place is made when it is asked for.
    """

    def __init__(self, width: int) -> None:
        """None yet, on `width` GPUs."""
        self._width = width
        self._buckets: list[list[Booking]] = []
        self._unsorted: list[Booking] = []
        self._of: dict[str, tuple[Booking, ...]] = {}

    def __iter__(self) -> Iterator[Booking]:
        return chain.from_iterable(self._of.values())

    def copy(self) -> Bookings:
        """The same, to be changed on their own."""
        twin = Bookings(self._width)
        twin._buckets = [bucket.copy() for bucket in self._buckets]
        twin._unsorted = self._unsorted.copy()
        twin._of = self._of.copy()
        return twin

    def add(self, booking: Booking) -> None:
        """Enter one."""
        self._unsorted.append(booking)
        before = self._of.get(booking.job_id)
        self._of[booking.job_id] = (booking,) if before is None else (*before, booking)

    def remove(self, job_id: str) -> list[tuple[Booking, list[Reservation]]]:
        """Take away all of a job: each, and what others have near its block."""
        buckets = self._sort_in()
        removed = []
        for booking in self._of.pop(job_id, ()):
            first = booking.reservation.first_gpu
            last = first + booking.reservation.gpus
            others: dict[int, Reservation] = {}
            for bucket in buckets[first // _BUCKET_GPUS : (last - 1) // _BUCKET_GPUS + 1]:
                bucket.remove(booking)
                others.update((id(other), other.reservation) for other in bucket)
            removed.append((booking, list(others.values())))
        return removed

    def on(self, first_gpu: int, gpus: int) -> Iterator[Booking]:
        """The bookings that touch a block, in no particular order, some perhaps twice."""
        last = first_gpu + gpus
        for bucket in self._sort_in()[first_gpu // _BUCKET_GPUS : (last - 1) // _BUCKET_GPUS + 1]:
            for booking in bucket:
                other = booking.reservation
                if other.first_gpu < last and first_gpu < other.first_gpu + other.gpus:
                    yield booking

    def _sort_in(self) -> list[list[Booking]]:
        """The bookings by place."""
        if not self._buckets:
            self._buckets = [[] for _ in range(0, self._width, _BUCKET_GPUS)]
        for booking in self._unsorted:
            first, last = booking.reservation.first_gpu, booking.reservation.gpus - 1
            last += first
            for bucket in self._buckets[first // _BUCKET_GPUS : last // _BUCKET_GPUS + 1]:
                bucket.append(booking)
        self._unsorted = []
        return self._buckets

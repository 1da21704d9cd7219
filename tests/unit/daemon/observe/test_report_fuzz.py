"""Mutated reports to the real readers: a report within bounds or a refusal, soon, and no more."""

from __future__ import annotations

import enum
import json
import math
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.contract import Action, ContractError, Launch, Order, Progress, StateDir
from ef_slurm.contract.decode import BOUNDS, MAX_BYTES, MAX_ITERATIONS, decode, decode_count
from ef_slurm.contract.files import dump
from ef_slurm.daemon.observe.job_status import JobReports
from ef_slurm.daemon.observe.plausible import plausible
from ef_slurm.daemon.observe.report_files import read_job_reports
from tests.fakes.patience import PATIENCE
from tests.unit.daemon.make import NOW, launch, progress
from tests.unit.daemon.observe.test_report_files import BAD, TRAPS

LONG = bool(os.environ.get("EF_LONG"))
REPORTS = 1_000_000 if LONG else 100_000
FILES = 20_000 if LONG else 1_500
SEED = 20261126
UID = os.getuid()

KINDS: tuple[Any, ...] = (Launch, Progress, Order)
SEEDS = [
    *(
        dump(one).encode()
        for one in (
            launch(),
            progress(points="4:37/1.5,2:20/1.25"),
            Order(1, Action.RESIZE, 5.0, "why", sizes="4,2,1"),
        )
    ),
    *BAD.values(),
]
WORDS = [
    *(b"9" * 400, b"1e400", b"-1e9", b"1e30", b"-0", b"1E+308", b"-5", b"1" + b"0" * 30, b"0.1"),
    *(b"NaN", b"Infinity", b"-Infinity", b"null", b"true", b"false", b"{}", b"[]", b'""'),
    *(b"[" * 2000, b'{"a":' * 500, b"\xff\xfe", b"\x00", b"\xed\xa0\x80", b'"\\ud800"'),
    *(b'"\\u001b[2J"', b'"\\u202e"', b'"running"', b'"finished"', b'"version": 1,', b"\n", b","),
    *(f'"{name}":'.encode() for name in BOUNDS),
]


def mutated(chance: random.Random, data: bytes) -> bytes:
    """The bytes with one to four things done to them."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randint(0, len(data))
        to = min(len(data), at + chance.randint(0, 12))
        match chance.randint(0, 6):
            case 0:
                data = data[:at] + bytes([chance.randint(0, 255)]) + data[at + 1 :]
            case 1:
                data = data[:at] + chance.choice(WORDS) + data[to:]
            case 2:
                data = data[:at] + data[to:]
            case 3:
                data = data[:at] + data[at:to] * chance.randint(2, 30) + data[to:]
            case 4:
                data = data[:at] + chance.choice(SEEDS)[: chance.randint(0, 400)] + data[at:]
            case 5:
                data = another_value(chance, data)
            case 6:
                data = data[:at]
    return data


def another_value(chance: random.Random, data: bytes) -> bytes:
    """The same object with another value for one key, where it is one."""
    lines = data.split(b"\n")
    number = chance.randrange(len(lines))
    key, colon, _ = lines[number].partition(b": ")
    if colon:
        lines[number] = key + colon + chance.choice(WORDS) + b","
    return b"\n".join(lines)


def assert_within_bounds(record: Any) -> None:
    for field in fields(record):
        value = getattr(record, field.name)
        if value is None or isinstance(value, enum.Enum | bool):
            continue
        if isinstance(value, str):
            assert value.isprintable()
            assert len(value) <= MAX_BYTES
            value.encode()
            continue
        low, high = BOUNDS.get(field.name, (0, MAX_ITERATIONS))
        assert math.isfinite(value)
        assert low <= value <= high, (field.name, value)
    json.dumps(asdict(record), default=str)


def assert_told_well(error: ContractError) -> None:
    text = str(error)
    assert text.isprintable()
    assert len(text) < 400
    text.encode()


def test_mutated_bytes_give_a_record_within_bounds_or_a_refusal() -> None:
    chance = random.Random(SEED)
    valid = 0
    for number in range(REPORTS):
        kind, seed = KINDS[number % 3], SEEDS[chance.randrange(len(SEEDS))]
        if number % 2:
            seed = SEEDS[number % 3]  # of its own kind
        data = mutated(chance, seed)
        try:
            record = decode(kind, data, "progress.json")
        except ContractError as error:
            assert_told_well(error)
            continue
        valid += 1
        assert_within_bounds(record)
    assert valid > REPORTS // 50  # or it would only be refusals that are tested


def test_mutated_counts_give_a_count_or_a_refusal() -> None:
    chance = random.Random(SEED)
    for _ in range(REPORTS // 20):
        data = mutated(chance, chance.choice([b"7\n", b"", b" 12 ", b"\xd9\xa7", b"9" * 5000]))
        try:
            assert 0 <= decode_count(data, "generation") <= 10**10
        except ContractError as error:
            assert_told_well(error)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[StateDir]:
    """A state directory in which another thread changes the kind of a file all the time."""
    state = StateDir(tmp_path / "hostile")
    state.path.mkdir()
    stop = threading.Event()
    chance = random.Random(SEED)
    spare = tmp_path / "spare"

    def trapped() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            file = spare.with_name(f"spare.{number}")
            file.write_bytes(dump(progress()).encode())
            trap = chance.choice(TRAPS)
            if "socket" in trap.__name__ or "device" in trap.__name__:
                continue  # both change what is the process's, or need a right
            trap(file)
            target = chance.choice([state.progress_file, state.launch_file])
            if target.is_dir() and not target.is_symlink():
                target.rmdir()
            if not file.is_dir() or not target.exists():
                file.replace(target)
            time.sleep(0.001)

    thread = threading.Thread(target=trapped, daemon=True)
    thread.start()
    yield state
    stop.set()
    thread.join(PATIENCE)


def test_mutated_files_that_change_while_they_are_read(hostile: StateDir, tmp_path: Path) -> None:
    neighbour = StateDir(tmp_path / "neighbour")
    neighbour.path.mkdir()
    neighbour.write_launch(launch())
    neighbour.write_progress(progress())
    chance = random.Random(SEED)
    before = open_files()
    longest = 0.0
    for number in range(FILES):
        seed = SEEDS[number % 2] if number % 4 else chance.choice(SEEDS)
        data = mutated(chance, seed)
        for name in ("launch.json", "progress.json"):
            temporary = hostile.path / "new"
            temporary.write_bytes(data)
            with suppress(OSError):  # a directory is there just now
                temporary.replace(hostile.path / name)
        began = time.monotonic()
        found = read_job_reports(str(hostile.path), UID)
        longest = max(longest, time.monotonic() - began)
        for record in (found.launch, found.progress):
            if record is not None:
                assert_within_bounds(record)
        clipped = plausible(found, 10_000, NOW)
        if clipped.progress is not None:
            assert clipped.progress.iteration <= 10_000
            assert clipped.progress.updated_at <= NOW
        assert found.trouble.isprintable()
        assert len(found.trouble) < 800
        if number % 10 == 0:
            assert read_job_reports(str(neighbour.path), UID) == JobReports(launch(), progress())
    assert longest < 5.0  # and it did not wait for anybody
    assert open_files() <= before + 8

"""Tests that failed beside others: which may be tried once more, and what counts as passed then."""

from __future__ import annotations

from pathlib import Path

import pytest
from mini.second_try import MOST, TESTS_FAILED, Ended, FirstTry

BUSY = """
import pytest
from pathlib import Path

def test_right(): pass

def test_busy():
    assert Path("known").exists()

@pytest.mark.parametrize("number", range(1))
def test_setup(number, request):
    if not Path("known").exists():
        request.getfixturevalue("absent")

def test_wrong():
    assert not Path("wrong").exists()

def test_gone():
    if Path("known").exists():
        pytest.skip("not today")
    assert not Path("gone").exists()
"""
MANY = "import pytest\n@pytest.mark.parametrize('n', range({}))\ndef test_it(n): assert 0\n"


class Tries:
    """Two tries of the tests of a directory; before the second one, the machine is quiet."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.first = FirstTry(pytester.mkdir("remembered"))
        self.ran: list[str] = []

    def once(self, options: list[str]) -> int:
        done = self.pytester.runpytest_inprocess("-v", *options)
        self.ran = [line.split()[0] for line in done.outlines if "::" in line and "%]" in line]
        return int(done.ret)

    @property
    def tried_again(self) -> bool:
        return Path("known").exists()

    def again(self, options: list[str]) -> int:
        Path("known").touch()
        return self.once(options)

    def both(self) -> Ended:
        return self.first.ended(self.once(self.first.options), self.again)


@pytest.fixture
def tries(pytester: pytest.Pytester) -> Tries:
    return Tries(pytester)


def test_what_passes_alone_does_not_fail_and_is_named(tries: Tries) -> None:
    tries.pytester.makepyfile(test_it=BUSY)
    late = ("test_it.py::test_busy", "test_it.py::test_setup[0]")
    assert tries.both() == Ended(0, late)
    assert tuple(tries.ran) == late


@pytest.mark.parametrize("also", ["wrong", "gone"])
def test_what_fails_again_or_does_not_run_has_failed(tries: Tries, also: str) -> None:
    """So has what was skipped: nobody saw it pass."""
    tries.pytester.makepyfile(test_it=BUSY)
    Path(also).touch()
    assert tries.both() == Ended(TESTS_FAILED)
    assert f"test_it.py::test_{also}" in tries.ran


IN_A_CLASS = """
from pathlib import Path

class TestIt:
    def test_busy(self): assert Path("known").exists()
"""


def test_a_file_that_skips_itself_does_not_count(tries: Tries) -> None:
    """Where what failed is in a class, pytest looks into all other files too."""
    tries.pytester.makepyfile(
        test_absent="import pytest; pytest.importorskip('nothing_of_that_name')", test_it=IN_A_CLASS
    )
    assert tries.both() == Ended(0, ("test_it.py::TestIt::test_busy",))


def test_nothing_is_run_again_where_nothing_failed(tries: Tries) -> None:
    tries.pytester.makepyfile(test_it="def test_it(): pass")
    assert tries.both() == Ended(0)
    assert not tries.tried_again


def test_more_failures_than_a_busy_machine_makes_are_not_tried_again(tries: Tries) -> None:
    tries.pytester.makepyfile(test_it=MANY.format(MOST + 1))
    assert tries.both() == Ended(TESTS_FAILED)
    assert len(tries.first.failed()) == MOST + 1
    assert not tries.tried_again


@pytest.mark.parametrize("text", ["import nothing_of_that_name", "import pytest; pytest.exit()"])
def test_what_ended_otherwise_than_by_a_failed_test_is_not_tried_again(
    tries: Tries, text: str
) -> None:
    tries.pytester.makepyfile(test_it=text)
    assert tries.both().code not in (0, TESTS_FAILED)
    assert not tries.tried_again


GROUPED = """
import pytest
pytestmark = pytest.mark.xdist_group("tests/of/one.py")
@pytest.mark.parametrize("signal", ["B:USR1@30"])
def test_other(signal): assert 0
"""


def test_what_failed_in_a_process_of_a_group_is_remembered_by_its_own_name(tries: Tries) -> None:
    """Between its processes, xdist adds the group to the name."""
    tries.pytester.makepyfile(test_it=GROUPED)
    divided = ["-n", "1", "--dist=loadgroup", "-p", "no:hypothesispytest", "-p", "no:benchmark"]
    done = tries.pytester.runpytest_subprocess(*divided, *tries.first.options)
    assert done.ret == TESTS_FAILED
    assert tries.first.failed() == ("test_it.py::test_other[B:USR1@30]",)

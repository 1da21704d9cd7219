"""Options are read as getopt_long reads them."""

import pytest

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.common.options import Option, Options, Takes
from ef_slurm.cli.common.problems import Problems
from ef_slurm.cli.sbatch.options import ALL_OPTIONS, OURS_INSTEAD, OWN
from ef_slurm.cli.sbatch.sbatch_table import SBATCH

OPTIONS = Options(
    (
        Option("account", "A"),
        Option("acctg-freq"),
        Option("verbose", "v", Takes.NOTHING),
        Option("quiet", "Q", Takes.NOTHING),
        Option("soft", takes=Takes.OPTIONAL),
        Option("nice", "x", takes=Takes.OPTIONAL),
    )
)


def parse(*words: str) -> tuple[list[tuple[str, str | None]], list[str]]:
    given, rest = OPTIONS.parse(words, "here")
    return [(option.option.name, option.value) for option in given], rest


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--account=a",), [("account", "a")]),
        (("--account", "a"), [("account", "a")]),
        (("--account=",), [("account", "")]),
        (("-A", "a"), [("account", "a")]),
        (("-Aa",), [("account", "a")]),
        (("-A=a",), [("account", "a")]),
        (("-vQAa",), [("verbose", None), ("quiet", None), ("account", "a")]),
        (("--verb",), [("verbose", None)]),
        (("--soft=10", "--soft"), [("soft", "10"), ("soft", None)]),
        (("-x5", "-x"), [("nice", "5"), ("nice", None)]),
    ],
)
def test_forms(words: tuple[str, ...], expected: list[tuple[str, str | None]]) -> None:
    assert parse(*words) == (expected, [])


@pytest.mark.parametrize(
    ("words", "rest"),
    [
        (("-v", "train.py", "--account=b"), ["train.py", "--account=b"]),
        (("-v", "--", "-x"), ["-x"]),
        (("-v", "-"), ["-"]),
        (("--soft", "train.py"), ["train.py"]),
    ],
)
def test_stops_at_the_script(words: tuple[str, ...], rest: list[str]) -> None:
    assert parse(*words)[1] == rest


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--acc=a",), "here: --acc could be any of --account, --acctg-freq"),
        (("--nothing",), "here: there is no option --nothing"),
        (("-z",), "here: there is no option -z"),
        (("--verbose=1",), "here: --verbose takes no value, but has '1'"),
        (("--account",), "here: --account needs a value"),
        (("-A",), "here: -A needs a value"),
    ],
)
def test_errors(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(*words)
    assert str(error.value) == message


def test_given_option_as_one_word() -> None:
    given, _ = OPTIONS.parse(("-A", "a b", "-v"), "here")
    assert [option.text for option in given] == ["--account=a b", "--verbose"]


def test_no_option_is_in_two_tables() -> None:
    names = [option.name for option in (*OWN, *(one.option for one in SBATCH))]
    assert {name for name in names if names.count(name) > 1} == set(OURS_INSTEAD)
    shorts = [one.option.short for one in SBATCH if one.option.short]
    assert sorted(shorts) == sorted(set(shorts))


def test_all_that_is_wrong_is_told_and_the_rest_is_read() -> None:
    problems = Problems()
    given, rest = OPTIONS.parse(
        ("--verbos=1", "-z", "--nothing", "--account=a", "x"), "here", problems
    )
    assert ([option.text for option in given], rest) == (["--account=a"], ["x"])
    with pytest.raises(UsageError) as error:
        problems.tell()
    assert str(error.value).splitlines() == [
        "here: --verbose takes no value, but has '1'",
        "here: there is no option -z",
        "here: there is no option --nothing",
    ]


def test_a_name_that_is_nearly_right() -> None:
    with pytest.raises(UsageError, match="there is no option --acount; did you mean --account?"):
        OPTIONS.parse(("--acount=a",), "here")
    with pytest.raises(UsageError, match="there is no option --aaa") as error:
        OPTIONS.parse((f"--{'a' * 1_000_000}",), "here")
    assert len(str(error.value)) < 2000


def test_profile_is_ours_not_sbatchs() -> None:
    given, rest = ALL_OPTIONS.parse(("--profile", "bert", "train.py"), "command line")
    assert (given[0].value, rest) == ("bert", ["train.py"])

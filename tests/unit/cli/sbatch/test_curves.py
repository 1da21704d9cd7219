"""Throughput curves from options and profile files."""

from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.sbatch.curves import UNKNOWN, read_profile, remembered, stated_throughput
from ef_slurm.formats.throughput import read_throughputs
from ef_slurm.model import KnownCurve, ProfileLevel, ThroughputCurve

TABLE = "global_batch_size,1,2,4\n32,10,18,30\n64,6,11,\n"


def test_a_wrong_curve_says_where_it_was_given() -> None:
    with pytest.raises(UsageError) as error:
        stated_throughput([("1:2,3:4", "job.sh:4: --throughput")], None, ("gpu",))
    assert str(error.value).startswith("job.sh:4: --throughput: '3' is not a number of GPUs")


def test_the_only_type_needs_no_name() -> None:
    assert stated_throughput((("1:2", "w"),), None, ("gpu",)).curves == (
        ("gpu", ThroughputCurve.of({1: 2.0})),
    )


def test_curves_by_type() -> None:
    given = stated_throughput((("t4=1:2", "w"), ("a100=1:5,2:9", "w")), None, ("a100", "t4"))
    assert [kind for kind, _ in given.curves] == ["a100", "t4"]
    assert given.source == "--throughput"


@pytest.mark.parametrize(
    ("texts", "gpu_type", "message"),
    [
        (("1:2",), None, "for which GPUs"),
        (("h100=1:2",), None, "no GPU type 'h100' here; there is a100, t4"),
        (("1:2",), "h100", "--gpu-type: no GPU type 'h100'"),
        (("1:2",), "a100,t4", "a job has GPUs of one type at a time"),
        (("t4=1:2", "t4=1:3"), None, "two curves for t4"),
        (("t4=1:2",), "a100", "no --throughput for it"),
    ],
)
def test_wrong_types(texts: tuple[str, ...], gpu_type: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        stated_throughput([(text, "w") for text in texts], gpu_type, ("a100", "t4"))


def test_a_profile(tmp_path: Path) -> None:
    (tmp_path / "bert.csv").write_text(TABLE)
    given = read_profile("bert", [tmp_path / "missing", tmp_path], 64, None, ("gpu",))
    assert given.curves == (("gpu", ThroughputCurve.of({1: 6.0, 2: 11.0})),)
    assert given.source == str(tmp_path / "bert.csv")


def test_profiles_by_type_and_the_users_before_the_sites(tmp_path: Path) -> None:
    user, site = tmp_path / "user", tmp_path / "site"
    for place, table in (
        (user / "t4", "1\n32,1"),
        (site / "t4", "1\n32,2"),
        (site / "a", "1\n32,3"),
    ):
        place.mkdir(parents=True)
        (place / "m.csv").write_text(f"global_batch_size,{table}\n")
    given = read_profile("m", [user, site], 32, None, ("a", "t4"))
    assert [(kind, curve.points) for kind, curve in given.curves] == [
        ("a", ((1, 3.0),)),
        ("t4", ((1, 1.0),)),
    ]
    assert read_profile("m", [user, site], 32, "t4", ("a", "t4")).curves[0][0] == "t4"


def test_published_tables_are_profiles_with_the_same_curves_as_in_ef_sim(
    shared_data: Path,
) -> None:
    for directory in (shared_data / "throughputs_A100", shared_data / "throughputs_T4"):
        for (model, batch), curve in read_throughputs(directory).items():
            given = read_profile(model, [directory], batch, None, ("gpu",))
            assert given.curves == (("gpu", curve),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": the file is empty"),
        ("batch,1\n", ":1: column 'global_batch_size': is missing"),
        ("global_batch_size,1\n64,x\n", ":2: column '1': 'x' is not a rate: iterations/s, or 0"),
        ("global_batch_size,1\n32,x\n64,1\n", ":2: column '1': 'x' is not a rate"),
        ("global_batch_size,1\n32,5\n", ": no row for a global batch size of 64; it has 32"),
    ],
)
def test_wrong_profiles(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bert.csv").write_text(text)
    with pytest.raises(UsageError) as error:
        read_profile("bert", [tmp_path], 64, None, ("gpu",))
    assert str(error.value).startswith(f"{tmp_path / 'bert.csv'}{message}")


def test_a_profile_that_is_not_there_suggests_one(tmp_path: Path) -> None:
    (tmp_path / "bert.csv").write_text(TABLE)
    with pytest.raises(UsageError, match="no such profile in .*; there is bert"):
        read_profile("brt", [tmp_path], 64, None, ("gpu",))
    with pytest.raises(UsageError, match="not a path"):
        read_profile("../bert", [tmp_path], 64, None, ("gpu",))


ONE = KnownCurve(
    "a100",
    promised=ThroughputCurve.of({1: 10.0, 2: 18.0}),
    expected=ThroughputCurve.of({1: 10.0, 2: 19.0}),
    measured=((1, 10.0), (4, 36.0), (8, 60.0)),
    level=ProfileLevel.OWN,
    last=1_795_694_400.0,
)


def test_what_is_remembered_promises_one_curve_and_grows_on_the_other() -> None:
    curves = remembered([ONE], None, ["a100", "t4"], UTC)
    assert curves.curves == (("a100", ONE.promised),)
    assert curves.growth == (("a100", ONE.expected),)
    assert curves.source == "measured: 3 sizes, last 2026-11-26, by you"


def test_one_size_is_said_to_be_one() -> None:
    single = replace(ONE, gpu_type="t4", measured=((4, 36.0),), level=ProfileLevel.SITE)
    curves = remembered([single, ONE], None, ["a100", "t4"], UTC)
    assert [kind for kind, _ in curves.curves] == ["a100", "t4"]
    assert curves.source == (
        "a100 measured: 3 sizes, last 2026-11-26, by you; "
        "t4 measured: 1 size (4 GPUs; no other is counted on), last 2026-11-26, "
        "by several users here"
    )
    assert remembered([single, ONE], "t4", ["a100", "t4"], UTC).growth == (("t4", ONE.expected),)


@pytest.mark.parametrize(("known", "gpu_type"), [([], None), ([ONE], "t4")])
def test_what_was_never_measured_is_not_known(
    known: list[KnownCurve], gpu_type: str | None
) -> None:
    assert remembered(known, gpu_type, ["a100", "t4"], UTC) == UNKNOWN

"""ef-profile as a person meets it, with a daemon that answers what it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from ef_slurm.api.messages import (
    AddRates,
    DeleteRates,
    FindCurves,
    KnownCurves,
    ListRates,
    Rates,
    RatesChanged,
    Request,
    Response,
)
from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.profile import command
from ef_slurm.formats.throughput import read_table
from ef_slurm.model import KnownCurve, MeasuredRate, ProfileKey, ProfileLevel, ThroughputCurve
from ef_slurm.siteconfig.tables import SiteConfig

KEY = ProfileKey("bert", 256, "bf16", "a100")
RATES = (
    MeasuredRate(KEY, 1, 1, 10.0, 30.0, "me", "a", 0.0, job_id=17),
    MeasuredRate(KEY, 4, 4, 36.25, 0.0, "me", "", 86400.0, source="x.csv"),
)
CURVE = KnownCurve(
    "a100",
    promised=ThroughputCurve.of({1: 10.0, 2: 17.5, 4: 36.0, 8: 35.0}),
    expected=ThroughputCurve.of({1: 10.0, 2: 19.0, 4: 36.0, 8: 70.0}),
    measured=((1, 10.0), (4, 36.0)),
    level=ProfileLevel.ACCOUNT,
    last=86400.0,
)


class Daemon:
    """Answers, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.curves: tuple[KnownCurve, ...] = (CURVE,)
        self.rates: tuple[MeasuredRate, ...] = RATES

    def ask(self, request: Request) -> Response:
        self.asked.append(request)
        match request:
            case FindCurves():
                return KnownCurves(self.curves)
            case ListRates():
                return Rates(self.rates)
            case AddRates(rates):
                return RatesChanged(len(rates))
            case DeleteRates():
                return RatesChanged(len(self.rates))
        raise AssertionError(request)

    def close(self) -> None:
        pass


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    answers = Daemon()
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr(command, "configuration", lambda _: SiteConfig())
    monkeypatch.setattr(command, "connect", lambda _site, _slurm: answers)
    return answers


@pytest.fixture
def invoke(daemon: Daemon) -> Callable[..., Result]:
    def do(*words: str) -> Result:
        # Its errors are worded by `entry`, around it.
        return CliRunner().invoke(command._command, words, standalone_mode=False)

    assert daemon is not None
    return do


def test_list(invoke: Callable[..., Result], daemon: Daemon) -> None:
    lines = invoke("list", "bert").output.splitlines()
    assert daemon.asked == [ListRates(model_name="bert")]
    assert lines[0].split() == [
        *("MODEL", "BATCH", "PRECISION", "GPU", "GPUS", "ITERATIONS/S", "MEASURED", "FROM"),
    ]
    assert lines[1].split() == ["bert", "256", "bf16", "a100", "1", "10", "1970-01-01", "job", "17"]
    assert lines[2].split()[-2:] == ["1970-01-02", "x.csv"]
    (first, _) = json.loads(invoke("list", "--json").output)["rates"]
    assert (first["key"]["model_name"], first["rate"], first["job_id"]) == ("bert", 10.0, 17)


def test_show(invoke: Callable[..., Result], daemon: Daemon) -> None:
    lines = invoke("show", "bert", "--global-batch-size=256", "--precision=bf16").output.split("\n")
    assert daemon.asked == [FindCurves("bert", 256, "bf16")]
    assert lines[0] == "a100, measured: 2 sizes, last 1970-01-02, by your account"
    bars = {int(line.split()[0]): line for line in lines[2:] if line}
    assert [("*" in bars[gpus]) for gpus in (1, 2, 4, 8)] == [True, False, True, False]
    # Half of what is expected of 8 GPUs is promised on.
    assert (bars[8].count("█"), bars[8].count("░")) == (20, 20)
    assert bars[4].count("░") == 0
    (told,) = json.loads(invoke("show", "bert", "--global-batch-size=256", "--json").output)[
        "curves"
    ]
    assert told["promised"]["points"][-1] == [8, 35.0]


def test_what_is_not_known_is_an_error(invoke: Callable[..., Result], daemon: Daemon) -> None:
    other = invoke("show", "bert", "--global-batch-size=256", "--gpu-type=t4")
    assert isinstance(other.exception, UsageError)
    daemon.curves, daemon.rates = (), ()
    for words in (("show", "x", "--global-batch-size=1"), ("export", "x"), ("delete", "x")):
        assert isinstance(invoke(*words).exception, UsageError)
    assert isinstance(invoke("show", "x").exception, click.UsageError)


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plot(invoke: Callable[..., Result], tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("vl_convert")
    file = tmp_path / f"bert.{suffix}"
    assert invoke("plot", "bert", "--global-batch-size=256", "-o", str(file)).exception is None
    begins = b"\x89PNG" if suffix == "png" else b"<svg"
    assert file.read_bytes().startswith(begins)


def test_what_cannot_be_plotted_is_refused_before(
    invoke: Callable[..., Result], daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("plot", "bert", "--global-batch-size=256", "-o")
    assert "must end in .png, .svg, .pdf" in str(invoke(*words, "bert.jpg").exception)
    monkeypatch.setattr("ef_slurm.charts.library.is_there", lambda: False)
    assert "install ef-slurm[web]" in str(invoke(*words, "bert.png").exception)
    assert daemon.asked == []


def test_what_is_exported_is_imported_again(
    invoke: Callable[..., Result], daemon: Daemon, tmp_path: Path
) -> None:
    file = tmp_path / "bert.csv"
    file.write_text(invoke("export", "bert").output)
    assert read_table(file)[256].points == ((1, 10.0), (4, 36.25))
    done = invoke("import", str(file), "--gpu-type=a100", "--precision=bf16", "--gpus-per-node=2")
    assert done.output == "2 rates imported\n"
    asked = daemon.asked[-1]
    assert isinstance(asked, AddRates)
    assert [rate.key for rate in asked.rates] == [KEY, KEY]
    assert [(rate.gpus, rate.gpus_per_node, rate.rate) for rate in asked.rates] == [
        (1, 1, 10.0),
        (4, 2, 36.25),
    ]
    assert {rate.source for rate in asked.rates} == {str(file)}


def test_an_export_is_of_one_precision_and_type(
    invoke: Callable[..., Result], daemon: Daemon
) -> None:
    other = ProfileKey("bert", 256, "fp32", "a100")
    daemon.rates = (*RATES, MeasuredRate(other, 1, 1, 5.0, 30.0, "me", "", 0.0))
    assert "--precision: say which, one of bf16, fp32" in str(invoke("export", "bert").exception)


@pytest.mark.parametrize("text", ["", "global_batch_size,3\n64,1\n", "global_batch_size,1\nx,1\n"])
def test_a_wrong_table_is_refused(
    invoke: Callable[..., Result], daemon: Daemon, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "bert.csv"
    file.write_text(text)
    result = invoke("import", str(file), "--gpu-type=a100")
    assert isinstance(result.exception, UsageError)
    assert str(file) in str(result.exception)
    assert daemon.asked == []


def test_delete(invoke: Callable[..., Result], daemon: Daemon) -> None:
    assert invoke("delete", "bert", "--gpu-type=a100").output == "2 rates forgotten\n"
    assert daemon.asked == [DeleteRates("bert", None, None, "a100")]

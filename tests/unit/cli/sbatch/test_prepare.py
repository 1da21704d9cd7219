"""What sbatch and the queue get of a submission."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from math import inf
from pathlib import Path

import pytest

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.common.problems import Problems
from ef_slurm.cli.sbatch.curves import StatedCurves
from ef_slurm.cli.sbatch.environment import environment_options
from ef_slurm.cli.sbatch.node_choice import NodeChoice
from ef_slurm.cli.sbatch.options import ALL_OPTIONS
from ef_slurm.cli.sbatch.per_gpu import PerGpuChoice
from ef_slurm.cli.sbatch.prepare import Prepared, check_site, prepare
from ef_slurm.cli.sbatch.script import wrapped
from ef_slurm.cli.sbatch.submission_options import submission_options
from ef_slurm.model import Overhead, PerGpu, ThroughputCurve
from ef_slurm.siteconfig.tables import SiteConfig, SlurmTable

NOW = 1_700_000_000.0
CURVES = StatedCurves(
    (("a", ThroughputCurve.of({1: 4.0, 2: 6.0})), ("b", ThroughputCurve.of({1: 2.0}))), "given"
)
WORK = ("--iterations=7200", "--global-batch-size=8", "--throughput=1:1")
HOURS_2 = (*WORK, "--deadline=+2h")
SITE = SiteConfig(slurm=SlurmTable(partition="ef", cluster="here"))


def prepared(
    *words: str,
    site: SiteConfig = SITE,
    longest: float = inf,
    environment: Mapping[str, str] | None = None,
    per_gpu: PerGpuChoice | None = None,
    nodes: NodeChoice | None = None,
    curves: StatedCurves = CURVES,
) -> Prepared:
    given, _ = ALL_OPTIONS.parse(words, "command line")
    problems = Problems()
    variables = environment_options(environment or {}, problems)
    requested = submission_options(given, (), NOW, UTC, environment=variables, problems=problems)
    check_site(requested, wrapped("true"), site, problems)
    problems.tell()
    return prepare(
        requested,
        wrapped("true"),
        curves,
        site,
        per_gpu or PerGpuChoice(PerGpu()),
        nodes or NodeChoice(),
        state_dir=Path("/shared/x"),
        longest=longest,
        now=NOW,
        environment=environment or {},
    )


@pytest.mark.parametrize(
    ("words", "longest", "limit"),
    [
        # An hour more than one and a half times the time until the deadline.
        (HOURS_2, inf, "4:00:00"),
        ((*HOURS_2, "--soft=2h"), inf, "7:00:00"),
        (HOURS_2, 3 * 3600.0, "3:00:00"),
        # Without a deadline: twice as long as on one of the slowest GPUs.
        ((*WORK, "--best-effort"), inf, "3:00:00"),
        # The user's own limit counts.
        ((*HOURS_2, "--time=30"), inf, "30:00"),
        ((*HOURS_2, "--time=5:00:00"), 3 * 3600.0, "5:00:00"),
    ],
)
def test_the_time_limit_is_more_than_the_plan_can_need(
    words: tuple[str, ...], longest: float, limit: str
) -> None:
    options = prepared(*words, longest=longest).submission.options
    assert [option for option in options if option.startswith("--time=")] == [f"--time={limit}"]


def test_the_sites_partition_and_reservation_come_before_the_users_options() -> None:
    site = replace(SITE, slurm=replace(SITE.slurm, reservation="r"))
    submission = prepared(*HOURS_2, "--account=nlp", site=site).submission
    assert submission.options[:2] == ("--partition=ef", "--reservation=r")
    assert submission.options[-1] == "--account=nlp"
    assert not any("reservation" in option for option in prepared(*HOURS_2).submission.options)


def test_what_comes_with_each_gpu_is_asked_of_slurm_and_told_the_queue() -> None:
    choice = PerGpuChoice(PerGpu(16, 62_500), ("--cpus-per-gpu=16", "--mem-per-gpu=62500M"))
    made = prepared(*HOURS_2, "--qos=high", per_gpu=choice)
    assert made.submission.options[-3:] == (*choice.options, "--qos=high")
    assert made.request.per_gpu == PerGpu(16, 62_500)


@pytest.mark.parametrize(
    ("given", "before", "stated"),
    [
        (("--iterations=900",), (None, 64), (True, False)),
        (("--global-batch-size=8",), (80, None), (False, True)),
        ((), (80, 64), (False, False)),
    ],
)
def test_what_is_given_beside_what_the_run_before_said_is_told_as_given(
    given: tuple[str, ...], before: tuple[int | None, int | None], stated: tuple[bool, bool]
) -> None:
    known = replace(CURVES, iterations=before[0], global_batch_size=before[1])
    request = prepared("--deadline=+2h", *given, curves=known).request
    assert request.assumed
    assert (request.iterations_stated, request.batch_stated) == stated


def test_a_users_reservation_is_passed_on_and_told() -> None:
    given = prepared(*HOURS_2, "--reservation=course")
    assert "--reservation=course" in given.submission.options
    assert ("reservation", "course") in given.request.asked
    by_environment = prepared(*HOURS_2, environment={"SBATCH_RESERVATION": "course"})
    assert by_environment.request.asked == given.request.asked
    inside = replace(SITE, slurm=replace(SITE.slurm, reservation="ef"))
    assert ("reservation", "ef") in prepared(*HOURS_2, site=inside).request.asked
    assert prepared(*HOURS_2, "--reservation=ef", site=inside)


@pytest.mark.parametrize(
    ("given", "ours", "words"),
    [("course", "ef", "inside the reservation 'ef'"), ("a,b", "", "give one")],
)
def test_reservations_that_no_plan_can_be_made_for(given: str, ours: str, words: str) -> None:
    site = replace(SITE, slurm=replace(SITE.slurm, reservation=ours))
    with pytest.raises(UsageError, match=words):
        prepared(*HOURS_2, f"--reservation={given}", site=site)


def test_what_slurm_is_asked_for_is_told_in_its_words() -> None:
    words = ("--account=nlp", "--qos=high", "--licenses=matlab:2", "--time=90")
    request = prepared(*HOURS_2, *words).request
    assert request.account == "nlp"
    assert request.asked == (("QOS", "high"), ("licenses", "matlab:2"), ("time limit", "90"))
    environment = {"SBATCH_ACCOUNT": "a", "SBATCH_QOS": "q"}
    request = prepared(*HOURS_2, "--time=0", environment=environment).request
    assert (request.account, request.max_time) == ("a", None)
    assert request.asked == (("QOS", "q"), ("time limit", "unlimited"))


def test_no_time_limit_is_asked_for_as_that() -> None:
    """Not as long as any plan may need: Slurm may refuse it."""
    assert "--time=UNLIMITED" in prepared(*HOURS_2, "--time=0", longest=60.0).submission.options


def test_a_working_directory_has_to_be_one(tmp_path: Path) -> None:
    assert prepared(*HOURS_2, f"--chdir={tmp_path}")
    file = tmp_path / "file"
    file.touch()
    for place, words in ((tmp_path / "absent", "No such file"), (file, "it is no directory")):
        with pytest.raises(UsageError, match=words):
            prepared(*HOURS_2, f"--chdir={place}")


def test_a_signal_that_the_job_gets_for_its_orders_is_not_the_scripts() -> None:
    assert prepared(*HOURS_2, "--signal=B:USR1@60").submission.options[-1] == "--signal=B:USR1@60"
    for word in ("USR2", "12@60", "B:SIGUSR2"):
        with pytest.raises(UsageError, match="USR2 makes the job look at its orders"):
            prepared(*HOURS_2, f"--signal={word}")
    assert prepared(*HOURS_2, "--signal=USR2", "--stop-signal=URG")


def test_another_partition_is_not_ours() -> None:
    assert prepared(*HOURS_2, "--partition=ef").request.partition == "ef"
    with pytest.raises(UsageError, match="schedules the partition 'ef'"):
        prepared(*HOURS_2, "--partition=batch")


def test_what_would_change_the_shape_is_kept_from_sbatch() -> None:
    shape = ("GPUS", "GRES", "GPUS_PER_NODE", "GPUS_PER_TASK", "GPUS_PER_SOCKET", "TRES_PER_TASK")
    environment = {f"SBATCH_{name}": "4" for name in (*shape, "NTASKS_PER_NODE", "EXCLUSIVE")}
    environment["SBATCH_GRES"] = "gpu:4"
    environment |= {"SLURM_HINT": "x", "SBATCH_ACCOUNT": "nlp", "HOME": "/home/a"}
    environment |= {"SBATCH_PROFILE": "task", "SBATCH_DEBUG": "1", "EF_SBATCH_SOFT": "1h"}
    submission = prepared(*HOURS_2, environment=environment).submission
    left = {"SBATCH_PROFILE": "task", "SBATCH_DEBUG": "1", "HOME": "/home/a"}
    assert submission.environment == left
    # Written out: whoever submits the job again has another environment.
    assert {"--account=nlp", "--hint=x"} <= set(submission.options)


def test_which_nodes_it_may_have_is_told_slurm_and_the_queue() -> None:
    asked = (("excluded nodes", "n3"), ("features", "ib"))
    choice = NodeChoice(frozenset({"n1"}), ("--constraint=ib", "--exclude=n3"), asked)
    made = prepared(*HOURS_2, "--qos=high", nodes=choice)
    assert made.submission.options[-3:] == (*choice.options, "--qos=high")
    assert set(asked) < set(made.request.asked)


def test_the_least_bound_of_its_size_counts() -> None:
    choice = PerGpuChoice(PerGpu(), max_gpus=8)
    assert prepared(*HOURS_2, per_gpu=choice).request.max_gpus == 8
    assert prepared(*HOURS_2, "--gpus=4", per_gpu=choice).request.max_gpus == 4


def test_the_row_of_the_queue() -> None:
    request = prepared(*HOURS_2, "--job-name=bert", "--max-gpus=8", "--time=90").request
    assert (request.name, request.iterations, request.global_batch_size) == ("bert", 7200, 8)
    assert (request.deadline, request.max_gpus, request.max_time) == (NOW + 7200, 8, 5400.0)
    assert (request.curves, request.curve_source) == (CURVES.curves, "given")
    assert (request.cluster, request.state_dir) == ("here", "/shared/x")
    assert request.overhead == SITE.overhead
    assert (request.model_name, request.precision) == ("", "unspecified")
    named = prepared(*HOURS_2, "--model-name=bert", "--precision=bf16").request
    assert (named.model_name, named.precision) == ("bert", "bf16")
    assert prepared(*HOURS_2, "--overhead=3").request.overhead == Overhead.constant(3.0)
    live = prepared(*HOURS_2, "--overhead=grow=2,shrink=1.5").request.overhead
    assert live == replace(SITE.overhead, grow=2.0, shrink=1.5)

"""The running mini-Slurms that tests marked `cluster` use.

Most tests share the one that `MINISLURM_NAME` names. Those that need a cluster with named variants
(`docker/minislurm --help`) ask for `tight_cluster` or `typed_cluster`: two in all, each brought up
for the first test that needs it, so that a run pays for two further clusters at most.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from mini.client import MiniSlurm, minislurm
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

UP_TIMEOUT_SECONDS = 900
TIGHT = ("memory", "powersave", "limits")
TYPED = ("mixed-gpus", "mig-names")
VARIANT_CLUSTERS = frozenset({"running_tight_cluster", "running_typed_cluster"})
VARIANTS = "variants"
WITH_VARIANTS = frozenset({"test_limits", "test_minislurm_variants", "test_variant_promises"})
"""Files whose tests ask for a cluster with variants."""
LONGEST_FIRST = (
    *(VARIANTS, "test_cli", "test_daemon", "test_cli_learning", "test_hostile", "test_minislurm"),
    *("test_life", "test_sbatch_options", "test_installation", "test_rebuild"),
    *("test_live_changes", "test_pipelines", "test_unavailable"),
)
"""Groups that take most of a minute or more: none of them comes last, while the others are idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones first.

    Raises:
        pytest.UsageError: one that asks for a cluster with variants is in another file.
    """
    for item in items:
        asks = VARIANT_CLUSTERS.intersection(getattr(item, "fixturenames", ()))
        if asks and group_of(item.nodeid) != VARIANTS:
            raise pytest.UsageError(f"{item.nodeid}: its file belongs into WITH_VARIANTS")
    ranks = {name: rank for rank, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(Path(group_of(item.nodeid)).stem, len(ranks)))


class ByGroup(LoadScopeScheduling):  # type: ignore[misc]
    """The tests of a file go to one process, and so do all that share a cluster with variants.

    By a scheduler, and not by the mark xdist_group, which has no effect with xdist 3.8 and
    pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByGroup | None:
    """With --dist=loadgroup; otherwise, as where unit tests run too, what is asked for."""
    return ByGroup(config, log) if config.getvalue("dist") == "loadgroup" else None


def group_of(nodeid: str) -> str:
    """Of a test."""
    path = nodeid.partition("::")[0]
    return VARIANTS if Path(path).stem in WITH_VARIANTS else path


def _named(name: str) -> MiniSlurm:
    cluster = MiniSlurm.named(name)
    if cluster is None:
        pytest.fail(
            f"no mini-Slurm named {name!r} is up: run `docker/minislurm test`, or "
            f"`docker/minislurm up --name {name}` and MINISLURM_NAME={name} pytest -m cluster",
            pytrace=False,
        )
    return cluster


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[MiniSlurm]:
    with _named(os.environ.get("MINISLURM_NAME", "minislurm")).with_standing() as cluster:
        yield cluster


@pytest.fixture
def cluster(running_cluster: MiniSlurm) -> Iterator[MiniSlurm]:
    """The mini-Slurm, with an empty queue and all nodes idle, before and after."""
    yield running_cluster
    running_cluster.heal()


def _with_variants(
    base: MiniSlurm, kind: str, variants: tuple[str, ...], *options: str
) -> Iterator[MiniSlurm]:
    """The cluster that is up, if it has these variants; else one of our own beside it."""
    if set(variants) <= set(base.variants):
        yield base
        return
    words = ["--engine", base.engine, "--variant", ",".join(variants), *options]
    if base.engine == "docker":
        words += ["--suite", base.suite]
    if "limits" in variants and not base.accounting:
        pytest.skip(f"no accounting on {base.suite} ({base.engine} engine)")
    name = f"{kind}-{os.getpid()}"
    try:
        started = minislurm("up", "--name", name, *words, timeout=UP_TIMEOUT_SECONDS)
        assert started.returncode == 0, started.stderr
        with _named(name).with_standing() as cluster:
            yield cluster
    finally:
        minislurm("down", "--name", name)


@pytest.fixture(scope="session")
def running_tight_cluster(running_cluster: MiniSlurm) -> Iterator[MiniSlurm]:
    yield from _with_variants(running_cluster, "tight", TIGHT)


@pytest.fixture(scope="session")
def running_typed_cluster(running_cluster: MiniSlurm) -> Iterator[MiniSlurm]:
    yield from _with_variants(running_cluster, "typed", TYPED, "--nodes", "5")


@pytest.fixture
def tight_cluster(running_tight_cluster: MiniSlurm) -> Iterator[MiniSlurm]:
    """Memory is given out, the last nodes save power, and there are limits."""
    yield running_tight_cluster
    running_tight_cluster.heal()


@pytest.fixture
def typed_cluster(running_typed_cluster: MiniSlurm) -> Iterator[MiniSlurm]:
    """Nodes of several GPU types, also on one node, and of slices of GPUs."""
    yield running_typed_cluster
    running_typed_cluster.heal()

"""Sites as they are: promised jobs meet their deadlines beside one that Slurm will not start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mini.client import MiniSlurm, wait_until

from tests.cluster.variant_people import VariantPeople, people_of

pytestmark = pytest.mark.cluster

WORK = "--iterations=400"  # forty seconds on a GPU, twelve on four
SHORT = "--iterations=200"


@pytest.fixture(scope="module")
def tight_people(running_tight_cluster: MiniSlurm) -> Iterator[VariantPeople]:
    with people_of(running_tight_cluster) as people:
        yield people


@pytest.fixture
def tight(tight_people: VariantPeople) -> Iterator[VariantPeople]:
    yield tight_people
    tight_people.clear()


@pytest.fixture
def typed(running_typed_cluster: MiniSlurm) -> Iterator[VariantPeople]:
    with people_of(running_typed_cluster) as people:
        yield people


def test_memory_and_cpus(tight: VariantPeople) -> None:
    """Beside one whose GPUs need more CPUs than it says: of one thread of each core."""
    cluster = tight.cluster
    other = cluster.sbatch("--nodelist=n1", "-c40", "--mem=1000", script="sleep 600")
    cluster.wait_for_state(other, "RUNNING")

    refused = tight.sbatch(f"--deadline=+10m {WORK} --mem-per-gpu=300G")
    assert refused.returncode == 2
    assert "no node has 307200 MiB for one GPU: the largest that fits is" in refused.stderr
    told = tight.sbatch(f"--deadline=+1s {WORK} --mem-per-gpu=100G")
    assert "At most 2 GPUs of a node with 102400 MiB each" in told.stderr

    bad = tight.submit(
        "--deadline=+100s --iterations=2000 --cpus-per-gpu=16 --hint=nomultithread"
        " --if-infeasible=wait --max-gpus=4"
    )
    good = [tight.submit(f"--deadline=+150s {WORK}") for _ in range(2)]
    good.append(tight.submit(f"--deadline=+150s {WORK} --cpus-per-gpu=32 --mem-per-gpu=100G"))
    seen: dict[int, dict[str, str]] = {}

    def all_were_seen() -> bool:
        for job in good:
            if found := tight.allocated(job):
                seen.setdefault(job, found)
        return len(seen) == len(good)

    wait_until("all of them to run", all_were_seen, timeout=150)
    for job, cpus, memory in zip(good, (16, 16, 32), (62_500, 62_500, 102_400), strict=True):
        gpus = int(seen[job]["gres/gpu"])
        assert seen[job]["cpu"] == str(cpus * gpus)
        assert seen[job]["mem"] in (f"{memory * gpus}M", f"{memory * gpus // 1024}G")
    tight.wait_for_kept(*good)
    tight.wait_for_story(bad, "BadConstraints")


def test_a_node_that_does_not_come_back_from_power_saving(tight: VariantPeople) -> None:
    cluster = tight.cluster
    for node in ("n3", "n4"):
        cluster.wait_for_node(node, "idle~", timeout=120)
    cluster.run(["touch", f"{cluster.shared}/power/n4.broken"], on="ctl")
    where = ["--nodelist=n1,n2", "--nodes=2", "--gres=gpu:4", "--mem-per-gpu=1000"]
    other = cluster.sbatch(*where, script="sleep 600")
    cluster.wait_for_state(other, "RUNNING")

    good = tight.submit(f"--deadline=+150s {SHORT} --max-gpus=4")
    woken = tight.submit(f"--deadline=+8m {SHORT} --max-gpus=4")
    tight.wait_for_kept(good, woken)
    assert "n4" in tight.story(woken) + tight.story(good)
    cluster.run(["rm", f"{cluster.shared}/power/n4.broken"], on="ctl")


def test_types_of_gpus(typed: VariantPeople) -> None:
    """Beside one whose nodes are all taken from it, and one that wants more than there are."""
    unknown = typed.sbatch(f"--deadline=+10m {SHORT} --gpu-type=h100")
    assert unknown.returncode == 2
    assert "no GPU type 'h100' here" in unknown.stderr
    # Seven slices are no eight.
    eight = typed.sbatch("--deadline=+60s --iterations=3000 --gpu-type=1g.10gb")
    assert eight.returncode == 3, eight.stdout + eight.stderr

    wall = typed.cluster.sbatch("--nodelist=n2", "--gres=gpu:3090:4", script="sleep 600")
    other = typed.cluster.sbatch("--nodelist=n3", "--gres=gpu:3090:2", script="sleep 600")
    typed.cluster.wait_for_state(wall, "RUNNING")
    typed.cluster.wait_for_state(other, "RUNNING")
    bad = typed.submit("--deadline=+60m --iterations=400 --gpu-type=3090 --if-infeasible=wait")
    typed.cluster.run(["scontrol", "update", f"jobid={bad}", "ExcNodeList=n2,n3"])
    typed.wait_for_story(bad, "changed in Slurm", timeout=60)
    typed.cluster.run(["scancel", str(wall), str(other)])

    types = ("3090", "a100", "3g.40gb", "1g.10gb")
    good = [typed.submit(f"--deadline=+150s {SHORT} --gpu-type={one}") for one in types]
    either = "--throughput=a100=1:10,2:19,4:36 --throughput=3090=1:10,2:19,4:36"
    good.append(typed.submit(f"--deadline=+150s {SHORT}", curve=either))
    typed.wait_for_kept(*good)
    waits = typed.queue()[bad]
    assert (waits["share"], waits["promise"]) == (0, "none"), typed.story(bad)

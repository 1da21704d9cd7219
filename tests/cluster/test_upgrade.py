"""From the version before to this one, by Debian packages, while jobs with promises run.

The version before is made of the project's history: older by two steps of the queue's schema and
one version of the protocol, so that the new daemon has something to understand.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from mini.client import CHECKOUT, MiniSlurm, wait_until
from mini.release import SUITE, packages

from tests.cluster.daemon_bench import RATES, Bench, idle_bench
from tests.cluster.package_hosts import by_packages, put

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not os.environ.get("EF_LONG"), reason="six minutes: EF_LONG=1"),
]

BEFORE = "bdbe15fde6e8f8589151e115f2307f4eb90930cd"
# What a site's file had then, for what it has now.
AS_BEFORE = "sed -i -e '/^grow =/d' -e '/^move =/d' -e 's/^restart =/reshape =/'"
FILE = "ef-slurm/ef-slurm.toml"
NUMBERS = f"--global-batch-size=32 --throughput={RATES}"


@pytest.fixture(scope="module")
def built(
    running_cluster: MiniSlurm, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """Directories with the packages of before, and of now."""
    if running_cluster.engine != "docker" or running_cluster.suite != SUITE:
        pytest.skip(f"packages are built in containers, for {SUITE}")
    top = tmp_path_factory.mktemp("versions")
    git = ["git", "-C", str(CHECKOUT), "archive", f"--output={top}/before.tar", BEFORE]
    if subprocess.run(git, check=False).returncode:
        pytest.skip("the project's history is not here")
    source = top / "source"
    source.mkdir()
    subprocess.run(["tar", "-C", source, "-xf", top / "before.tar"], check=True)
    before, now = top / "before", top / "now"
    packages(before, lint=False, source=source)
    packages(now, lint=False)
    return before, now


@pytest.fixture
def bench(running_cluster: MiniSlurm) -> Iterator[Bench]:
    with idle_bench(running_cluster) as bench, by_packages(running_cluster):
        yield bench
        bench.site.stop("KILL")


def configure_as_before(bench: Bench) -> None:
    for user in ("user1", "user2", "ef-slurm"):
        bench.cluster.run(f"{AS_BEFORE} ~/.config/{FILE}", user=user)
    bench.cluster.run(f"{AS_BEFORE} /etc/{FILE}", on="ctl")


def refused(bench: Bench, command: str) -> str:
    """What a command of before says to the daemon of now."""
    done = bench.cluster.run(command, user="user1", check=False)
    said: str = done.stdout + done.stderr
    assert done.returncode == 4, f"{command}: {said}"
    assert "Traceback" not in said
    return said


def test_promises_outlive_an_upgrade(bench: Bench, built: tuple[Path, Path]) -> None:
    before, now = built
    for host in ("ctl", "login"):
        put(bench.cluster, before, host)
    configure_as_before(bench)
    bench.site.start()

    done = bench.job(10, "--deadline=+10m", "--max-gpus=2")
    bench.wait_state(done, "completed", timeout=90)
    roomy = bench.job(30000, "--best-effort")
    fixed = [bench.job(8000, "--deadline=+20m", "--max-gpus=4") for _ in range(2)]
    array = bench.submit(120, "--array=0-2", "--max-gpus=1", "--deadline=+15m")["array"]
    held = bench.job(100, "--deadline=+15m", "--max-gpus=2")
    assert bench.cluster.run(f"ef-scontrol hold {held}", user="user1").returncode == 0
    for job in (*fixed, roomy):
        bench.wait_state(job, "running", timeout=90)
    wait_for_one(bench)
    told = bench.queue()
    in_slurm = bench.cluster.output("squeue -h -o %A | sort -n")

    version = bench.cluster.output("ef-schedd --version", on="ctl")
    schema_before = schema(bench)
    bench.site.stop()
    put(bench.cluster, now, "ctl")
    assert bench.cluster.output("ef-schedd --version", on="ctl") != version
    bench.site.start()
    assert schema(bench) >= schema_before + 2
    # Login hosts are later: their commands do nothing, and say what to do.
    for command in (
        "ef-squeue",
        f"ef-sbatch --deadline=+10m --iterations=10 {NUMBERS} python3 {bench.pacer}",
        f"ef-scancel {roomy}",
        f"ef-scontrol update {fixed[0]} deadline=+20m",
    ):
        said = refused(bench, command)
        assert "another release" in said, said
        assert "jobs go on" in said, said
    assert set(bench.cluster.output("squeue -h -o %A").split()) <= set(in_slurm.split())
    waited = wait_until("the one who waited is told", lambda: ended_waiter(bench), timeout=60)
    assert "jobs go on" in waited, waited

    put(bench.cluster, now, "login")
    bench.check_promises(told)
    rows = bench.queue()
    for job in fixed:
        assert rows[job]["generation"] == told[job]["generation"], "it trains on"
    checked = bench.cluster.run("ef-schedd check", user="ef-slurm", on="ctl", check=False)
    assert checked.returncode == 0, checked.stdout

    # Batch scripts of before obey the daemon of now.
    launches = rows[roomy]["generation"]
    urgent = bench.job(300, "--deadline=+4m", "--max-gpus=8")
    assert bench.cluster.run(f"ef-scontrol release {held}", user="user1").returncode == 0
    assert (
        bench.cluster.run(f"ef-scontrol update {fixed[1]} deadline=+25m", user="user1").returncode
        == 0
    )
    wanted = {*fixed, held, urgent, *(int(one["job_id"]) for one in array)}
    wait_until("all with a promise have ended", lambda: not wanted & set(bench.active()),
               timeout=600, every=1)  # fmt: skip
    rows = bench.queue()
    outcomes = {job: (rows[job]["state"], rows[job]["promise_outcome"]) for job in wanted}
    outcomes.pop(held)  # its owner held it: no promise
    assert set(outcomes.values()) == {("completed", "kept")}, outcomes
    assert rows[held]["state"] == "completed"
    wait_until(
        "the roomy one is launched anew",
        lambda: bench.queue()[roomy]["generation"] > launches,
        timeout=120,
    )
    assert roomy in bench.active(), bench.explain(roomy)
    assert bench.gpus_given_twice() == []
    there_is_no_way_back(bench, before)


def schema(bench: Bench) -> int:
    """Which schema the queue has."""
    queue = f"{bench.site.paths['ef_lib']}/queue.sqlite"
    database = f"sqlite3.connect({queue!r})"
    ask = f"import sqlite3; print(*{database}.execute('PRAGMA user_version').fetchone())"
    return int(bench.cluster.output(["python3", "-c", ask], user="ef-slurm", on="ctl"))


def wait_for_one(bench: Bench) -> None:
    """A user waits for the end of a job meanwhile."""
    command = bench.command(900, "--deadline=+15m", "--max-gpus=2", "--wait")
    log = f"{bench.cluster.home('user1')}/waiter.log"
    script = bench.cluster.write(
        "waiter.sh", f"rm -f {log}; {command} >{log} 2>&1; echo ended $? >>{log}\n", user="user1"
    )
    before = set(bench.queue())
    bench.cluster.run(f"setsid nohup sh {script} >/dev/null 2>&1 </dev/null &", user="user1")
    wait_until("the job is there", lambda: set(bench.queue()) - before, timeout=60)


def ended_waiter(bench: Bench) -> str:
    """What was said to that user, once the command has ended."""
    said = bench.cluster.output("cat waiter.log", user="user1")
    return said if "ended 4" in said else ""


def there_is_no_way_back(bench: Bench, before: Path) -> None:
    """The daemon of before leaves the queue of now alone, and says why."""
    bench.site.stop()
    put(bench.cluster, before, "ctl")
    done = bench.cluster.run("ef-schedd run --once", user="ef-slurm", on="ctl", check=False)
    assert done.returncode != 0, done.stdout
    assert "newer" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr

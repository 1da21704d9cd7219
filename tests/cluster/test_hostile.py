"""A hostile user plays through what issue after issue has found; a victim's job keeps its promise.

Two ordinary users, the daemon a Slurm operator. Before and after each try the same daemon ticks and
the victim's job trains on, its promise safe; each try also says that it had no effect of its own.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mini.client import MiniSlurm, wait_until

from tests.cluster.hostile_stage import ATTACKER, MARKED, VICTIM, Stage
from tests.cluster.hostile_tries import (
    BODIES,
    CHANGES,
    FIELDS,
    FLOODS,
    HEADS,
    LONG,
    NAMES,
    REPORTS,
    SCRIPTS,
)

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def play(running_cluster: MiniSlurm) -> Iterator[Stage]:
    stage = Stage(running_cluster)
    stage.set_up()
    yield stage
    stage.check()
    stage.run("scancel -u user1; scancel -u user2", user="root")
    stage.close()
    stage.site.stop()
    stage.cluster.heal()


@pytest.fixture
def stage(play: Stage) -> Iterator[Stage]:
    yield play
    play.check(fresh=3.0)  # which the next try begins with


@pytest.fixture(scope="module")
def unregistered(play: Stage) -> int:
    """A held job of the attacker's, for messages that are refused."""
    return play.held()


# Messages: every field has bounds, and what is outside is refused by its name.


@pytest.mark.parametrize(
    ("named", "fields"), FIELDS, ids=[f"{number}-{one[0]}" for number, one in enumerate(FIELDS)]
)
def test_a_field_out_of_bounds(
    stage: Stage, unregistered: int, named: str, fields: dict[str, Any]
) -> None:
    reply = stage.post("/v1/jobs", stage.registration(unregistered, **fields))
    assert reply.status == 400, reply
    assert named.split()[-1] in reply.detail.replace("_", " ")
    assert len(reply.body) < 2000
    assert unregistered not in stage.jobs(ATTACKER)


@pytest.mark.parametrize(("named", "script"), SCRIPTS, ids=[one[0] for one in SCRIPTS])
def test_a_script_out_of_bounds(
    stage: Stage, unregistered: int, named: str, script: dict[str, Any]
) -> None:
    body = {**stage.registration(unregistered), "script": script}
    reply = stage.post("/v1/jobs", body)
    assert reply.status in (400, 413), reply
    assert reply.status == 413 or named in reply.detail
    assert unregistered not in stage.jobs(ATTACKER)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_that_is_no_message(stage: Stage, body: str) -> None:
    replies = stage.ask(
        *({"method": "POST", "path": f"/v1/{path}", "body": body} for path in ("jobs", "what-if"))
    )
    assert all(reply.status in (400, 413) for reply in replies), replies
    assert all(len(reply.body) < 2000 for reply in replies)


@pytest.mark.parametrize("raw", HEADS.values(), ids=HEADS)
def test_a_request_that_is_no_http(stage: Stage, raw: str) -> None:
    (reply,) = stage.ask({"raw": raw, "timeout": 12.0})
    assert reply.status == 0 or 400 <= reply.status < 500, reply
    assert "root:" not in reply.body


def test_one_job_named_100_000_times(stage: Stage) -> None:
    reply = stage.post("/v1/cancellations", {"job_ids": [stage.victim] * 100_000})
    assert reply.seconds < 5
    assert len(reply.body) < 10_000
    assert 400 <= reply.status < 500 or '"job_ids":[]' in reply.body, reply


@pytest.mark.parametrize("job_id", [-1, 0, 2**31, 2**63, 10**40, "x"])
def test_a_job_that_cannot_be(stage: Stage, job_id: object) -> None:
    body = stage.registration(1)
    body["job"]["slurm_job_id"] = job_id
    replies = stage.ask(
        {"method": "POST", "path": "/v1/cancellations", "body": {"job_ids": [job_id]}},
        {"method": "GET", "path": f"/v1/jobs/{job_id}/story"},
        {"method": "DELETE", "path": f"/v1/jobs/{job_id}"},
        {"method": "POST", "path": "/v1/jobs", "body": body},
    )
    assert all(400 <= reply.status < 500 or reply.status == 502 for reply in replies), replies


# Other people's jobs.


def test_the_victims_job_is_not_the_attackers_to_register(stage: Stage) -> None:
    other = stage.held(user=VICTIM)
    reply = stage.post("/v1/jobs", stage.registration(other))
    assert reply.status == 403
    assert other not in stage.jobs()
    stage.run(f"scancel {other}", user=VICTIM)


@pytest.mark.parametrize(
    "command",
    [
        "ef-scancel {victim}",
        "scancel {victim}",
        "scontrol hold {victim}",
        "scontrol release {victim}",
        "scontrol requeue {victim}",
        "scontrol requeuehold {victim}",
        "scontrol suspend {victim}",
        "scontrol update jobid={victim} TimeLimit=1",
        "scontrol update jobid={victim} ReqNodeList=n1",
        "scancel --signal=USR2 {victim}",
    ],
)
def test_the_victims_job_is_not_the_attackers_to_change(stage: Stage, command: str) -> None:
    before = stage.slurm(stage.victim)
    done = stage.run(command.format(victim=stage.victim))
    assert done.returncode != 0
    after = stage.slurm(stage.victim)
    for field in ("JobState", "Restarts", "TimeLimit", "ReqNodeList"):
        assert after[field] == before[field]


def test_what_was_cancelled_is_slurms_word(stage: Stage) -> None:
    reply = stage.post("/v1/cancellations", {"job_ids": [stage.victim]})
    assert '"refused"' in reply.body or 400 <= reply.status < 500, reply
    reply = stage.ask({"method": "DELETE", "path": f"/v1/jobs/{stage.victim}"})[0]
    assert reply.status == 403


# Escaping the books.

EF_SBATCH = "ef-sbatch --best-effort --iterations=9 --global-batch-size=1 --throughput=1:1"


@pytest.mark.parametrize(
    "command",
    [
        "sbatch --partition=ef --wrap='sleep 60'",
        "srun --partition=ef sleep 60",
        "salloc --partition=ef sleep 60",
        "sbatch --partition=ef --begin=now+1hour --wrap='sleep 60'",
        "sbatch --partition=batch,ef marked.sh",
        "sbatch --partition=ef --array=1-3 marked.sh",
        "SBATCH_ARRAY_INX=1-3 sbatch --partition=ef marked.sh",
        "sbatch --partition=ef --nodes=1 : --partition=ef --nodes=1 marked.sh",
        "sbatch --partition=ef heterogeneous.sh",
        "sbatch --partition=ef array.sh",
        f"{EF_SBATCH} heterogeneous.sh",
    ],
)
def test_nothing_else_comes_into_the_partition(stage: Stage, command: str) -> None:
    directives = {
        "marked.sh": "",
        "array.sh": "#SBATCH --array=1-3",
        "heterogeneous.sh": "#SBATCH --nodes=1\n#SBATCH hetjob\n#SBATCH --nodes=1",
    }
    for name, lines in directives.items():
        if name in command:
            text = MARKED.format("sleep 60").replace("\n", f"\n{lines}\n", 1)
            stage.run(f"cat > {name}", stdin=text)
    before = set(stage.run("squeue -h -u user2 -o %i").stdout.split())
    done = stage.run(command)
    assert done.returncode != 0, done.stdout
    assert set(stage.run("squeue -h -u user2 -o %i").stdout.split()) == before


def test_a_marked_job_that_nobody_registers_stays_held(stage: Stage) -> None:
    job = stage.sbatch("--partition=ef --gres=gpu:4", MARKED.format("sleep 60"))
    assert stage.slurm(job)["Priority"] == "0"
    done = stage.run(f"scontrol release {job}")
    assert stage.slurm(job)["JobState"] == "PENDING", done
    stage.run(f"scancel {job}")


def test_no_job_moves_into_the_partition(stage: Stage) -> None:
    job = stage.sbatch("--hold --partition=batch", MARKED.format("sleep 60"))
    for partition in ("ef", "batch,ef"):
        assert stage.run(f"scontrol update jobid={job} Partition={partition}").returncode != 0
    assert stage.slurm(job)["Partition"] == "batch"
    stage.run(f"scancel {job}")


def test_a_plain_array_is_not_registered(stage: Stage) -> None:
    """As on a site without the plugin: an array in a partition that lets it in."""
    job = stage.sbatch("--hold --partition=batch --array=1-3", MARKED.format("sleep 60"))
    reply = stage.post("/v1/jobs", stage.registration(job))
    assert reply.status == 400
    assert "one job at a time" in reply.detail
    stage.run(f"scancel {job}")


@pytest.mark.parametrize("gres", ["gpu:a:b:1", "gpu:1(x", "gpu:x(y)z:1", "gpu:a)b:1"])
def test_what_a_job_asks_for_hides_no_other(stage: Stage, gres: str) -> None:
    """Slurm keeps what a user writes, or refuses it."""
    done = stage.run(f"sbatch --hold --partition=batch '--gres={gres}' --wrap true")
    stage.check()
    if done.returncode == 0:
        stage.run(f"scancel {done.stdout.split()[-1]}", check=True)


def test_a_job_of_another_partition_is_not_registered(stage: Stage) -> None:
    job = stage.sbatch("--hold --partition=batch", MARKED.format("sleep 60"))
    reply = stage.post("/v1/jobs", stage.registration(job))
    assert reply.status == 400
    assert "partition" in reply.detail
    stage.run(f"scancel {job}")


def test_an_ended_job_that_is_put_back_is_stopped(stage: Stage) -> None:
    # Slurm 26.05 starts it again at once.
    command = """--wrap '[ -z "$SLURM_RESTART_COUNT" ] || sleep 300'"""
    job = stage.submit(ATTACKER, "--best-effort --max-gpus=1", command=command)
    stage.wait_state(job, "completed", user=ATTACKER)
    assert stage.run(f"scontrol requeue {job}").returncode == 0
    wait_until(
        "the job to be stopped",
        lambda: stage.slurm(job)["JobState"] == "CANCELLED",
        timeout=30,
    )
    assert "put back or released after it had ended" in stage.story(job)


@pytest.fixture(scope="module")
def waiting(play: Stage) -> Iterator[int]:
    """A job of the attacker's that waits, held, for longer than the tries take."""
    job = play.held()
    reply = play.post("/v1/jobs", play.waiting(job))
    assert reply.status == 201, reply
    play.wait_state(job, "waitlisted", user=ATTACKER)
    wait_until("its comment", lambda: "Comment" in play.slurm(job))
    yield job
    play.run(f"scancel {job}")


@pytest.mark.parametrize("change", CHANGES)
def test_a_held_job_is_not_changed_by_its_owner(stage: Stage, waiting: int, change: str) -> None:
    before = stage.slurm(waiting)
    done = stage.run(f"scontrol update jobid={waiting} {change}")
    assert done.returncode != 0, done
    after = stage.slurm(waiting)
    seen = after.keys() - {"LastSchedEval", "Scheduler", "AccrueTime", "EligibleTime"}
    assert {key: after[key] for key in seen if after[key] != before.get(key)} == {}
    assert stage.jobs(ATTACKER)[waiting]["state"] == "waitlisted"


def test_its_release_by_its_owner_is_no_start(stage: Stage, waiting: int) -> None:
    stage.run(f"scontrol release {waiting}")
    time.sleep(1.0)
    assert stage.slurm(waiting)["JobState"] == "PENDING"
    assert stage.slurm(waiting)["Priority"] == "0"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("MinMemoryCPU=500", "memory"),
        ("WorkDir=/tmp", "working directory from"),
        ("ExcNodeList=n4", "excluded nodes from none to 'n4'"),
        ("TimeLimit=8-00:00:00", "time limit from"),
    ],
)
def test_what_was_changed_all_the_same_is_a_new_request(
    stage: Stage, waiting: int, change: str, words: str
) -> None:
    """As on a site without the plugin, or by an operator."""
    stage.run(f"scontrol update jobid={waiting} {change}", user="root", check=True)
    wait_until("the change to be seen", lambda: words in stage.story(waiting), timeout=20)
    assert "changed in Slurm since it was judged" in stage.story(waiting)
    stage.wait_state(waiting, "waitlisted", user=ATTACKER)


@pytest.mark.parametrize("command", ["hold", "release", "requeue", "update TimeLimit=1 jobid="])
def test_a_coordinator_changes_no_members_job(stage: Stage, command: str) -> None:
    if not stage.cluster.accounting:
        pytest.skip("no accounting, no coordinators")
    wait_until(  # the queue may say so from before a requeue
        "the victim's job to run",
        lambda: stage.slurm(stage.victim)["JobState"] == "RUNNING",
        timeout=60,
    )
    coordinator = "coordinator account=acct1 names=user2"
    stage.run(f"sacctmgr -i add {coordinator}", user="root", check=True)
    try:
        before = stage.slurm(stage.victim)
        gap = "" if command.endswith("=") else " "
        stage.run(f"scontrol {command}{gap}{stage.victim}")
        time.sleep(1.0)
        after = stage.slurm(stage.victim)
    finally:
        stage.run(f"sacctmgr -i remove {coordinator}", user="root")
    if command != "requeue":  # Slurm asks no plugin: the daemon has the job go on
        assert {key: after[key] for key in ("JobState", "Restarts", "TimeLimit")} == {
            key: before[key] for key in ("JobState", "Restarts", "TimeLimit")
        }
    wait_until(
        "the victim's job to train",
        lambda: stage.jobs()[stage.victim]["state"] == "running",
        timeout=60,
    )


# Limits.


def test_of_twenty_at_once_no_more_are_taken_than_may_be(stage: Stage) -> None:
    stage.clear()
    jobs = [stage.held() for _ in range(20)]
    wishes = [{"method": "POST", "path": "/v1/jobs", "body": stage.waiting(job)} for job in jobs]
    replies = stage.ask(*wishes, at_once=True)
    assert sum(reply.status == 201 for reply in replies) <= 10, replies
    words = "you have 10 jobs in the queue, and the limit is 10"
    assert any(words in reply.detail for reply in replies), replies
    assert len(stage.jobs(ATTACKER, "user=user2")) <= 10
    stage.clear()


def test_a_stranger_does_not_book_everything(stage: Stage) -> None:
    done = stage.ef_sbatch(ATTACKER, "--deadline=+30d", iterations=5_000_000)
    assert done.returncode == 3, done
    assert "GPU-hours" in done.stderr
    assert "limit is 100.0" in done.stderr


def test_submitting_and_withdrawing_fills_no_disk(stage: Stage) -> None:
    job = stage.held()
    body = stage.registration(job)
    wishes: list[dict[str, Any]] = []
    for _ in range(15):
        wishes.append({"method": "POST", "path": "/v1/jobs", "body": body})
        wishes.append({"method": "DELETE", "path": f"/v1/jobs/{job}"})
    replies = stage.ask(*wishes)
    assert all(reply.status in (200, 201, 400, 403, 429, 502) for reply in replies), replies
    queue = f"{stage.site.paths['ef_lib']}/queue.sqlite"
    count = (
        "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("
        '"SELECT count(*) FROM scripts JOIN jobs ON jobs.id = job_id WHERE state IN'
        " ('cancelled', 'rejected') AND first_started_at IS NULL\").fetchone()[0])"
    )
    command = f"python3 -c {shlex.quote(count)} {shlex.quote(queue)}"
    assert stage.run(command, user="root", on="ctl", check=True).stdout.strip() == "0"
    stage.clear()


# What a job says of itself.


@pytest.fixture(scope="module")
def liar(play: Stage) -> Iterator[tuple[int, str]]:
    """A job of the attacker's that runs and does not train, and its state directory."""
    job = play.submit(ATTACKER, "--best-effort --max-gpus=1", command="--wrap 'sleep 900'")
    state_dir = play.wait_state(job, "starting", "running", user=ATTACKER)["state_dir"]
    wait_until(
        "its launch", lambda: "generation" in play.run(f"cat {state_dir}/launch.json").stdout
    )
    play.run(f"cp {state_dir}/launch.json ~/launch.json")
    yield job, state_dir
    play.clear()


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_a_report_is_the_reporters_own_trouble(
    stage: Stage, liar: tuple[int, str], report: str
) -> None:
    job, state_dir = liar
    done = stage.run(f"cd {state_dir} && cp ~/launch.json launch.json; {report}")
    assert done.returncode == 0, done
    time.sleep(1.2)  # the daemon reads it, perhaps again and again
    stage.check()
    assert "Traceback" not in stage.log()
    row = stage.jobs(ATTACKER)[job]
    assert 0 <= row["iteration"] <= row["iterations"]
    stage.run(f"cd {state_dir} && rm -rf progress.json launch.json; cp ~/launch.json .")


@pytest.mark.parametrize(
    "command",
    [
        "touch {orders}/mine",
        "ln -s /etc/passwd {orders}/link",
        "ls {orders}",
        "rm -rf {orders}",
        "cat {queue}",
        "sqlite3 {queue} .dump || cp {queue} /tmp/stolen",
        "touch {victim}/progress.json",
        "ln -sf /dev/null {victim}/order.json",
        "cat {victim}/progress.json",
        "mv {victim} {victim}.gone",
    ],
)
def test_other_peoples_files(stage: Stage, command: str) -> None:
    words = command.format(
        orders=stage.site.orders_dir,
        queue=f"{stage.site.paths['ef_lib']}/queue.sqlite",
        victim=stage.jobs()[stage.victim]["state_dir"],
    )
    assert stage.run(words, on="ctl").returncode != 0


# Floods.


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_flood_leaves_room_for_others(stage: Stage, flood: str) -> None:
    command = f"python3 -c {shlex.quote(flood)} {shlex.quote(stage.site.socket)}"
    with ThreadPoolExecutor(1) as pool:
        flooding = pool.submit(stage.run, command, on="ctl", agent="flood")
        time.sleep(1.5)
        began = time.monotonic()
        assert stage.victim in stage.jobs()
        assert time.monotonic() - began < 10
        stage.check()
        flooding.result()


def test_forty_questions_at_once_hold_up_no_tick(stage: Stage) -> None:
    wish = {
        "method": "POST",
        "path": "/v1/what-if",
        "body": {"job": stage.registration(0)["job"]},
    }
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(stage.ask, *[wish] * 40, at_once=True, agent="flood")
        time.sleep(0.5)
        stage.check()
        replies = asking.result()
    assert any(reply.status == 200 for reply in replies), replies
    assert all(reply.status in (200, 429, 503) for reply in replies), replies


# Deceiving.


@pytest.fixture(scope="module")
def named(play: Stage) -> Iterator[dict[str, int]]:
    """Jobs with names that would write on other people's terminals."""
    jobs: dict[str, int] = {}
    for kind, name in NAMES.items():
        job = play.held()
        reply = play.post("/v1/jobs", play.waiting(job, name=name))
        assert reply.status == 201, reply
        jobs[kind] = job
    yield jobs
    play.clear()


@pytest.mark.parametrize("kind", NAMES)
def test_a_name_writes_on_no_terminal(stage: Stage, named: dict[str, int], kind: str) -> None:
    job = named[kind]
    shown = stage.run("ef-squeue --user=user2", user=VICTIM).stdout
    rows = [line for line in shown.split("\n")[1:] if line]
    assert all(line.isprintable() for line in shown.split("\n"))
    assert sorted(int(row.split()[0]) for row in rows) == sorted(
        one["job_id"] for one in stage.jobs(VICTIM, "user=user2").values()
    )
    story = stage.run(f"ef-squeue --explain {job}", user=VICTIM).stdout
    assert all(line.isprintable() for line in story.split("\n"))
    assert stage.jobs(VICTIM)[job]["name"] == NAMES[kind]
    assert all(line.isprintable() for line in stage.log().split("\n"))


def test_an_answer_of_ef_sbatch_writes_on_no_terminal(stage: Stage) -> None:
    name = shlex.quote(NAMES["escape"])
    done = stage.ef_sbatch(ATTACKER, f"--test-only --deadline=+1h --job-name={name}")
    assert all(line.isprintable() for line in (done.stdout + done.stderr).split("\n"))


def test_a_huge_request_is_not_logged_whole(stage: Stage) -> None:
    before = len(stage.log())
    stage.post("/v1/jobs", {"job": {"kind": LONG * 9}, "script": {"text": ""}})
    stage.ask({"raw": "X" * 500_000 + "\r\n\r\n", "timeout": 5.0})
    assert len(stage.log()) - before < 20_000


# At the end everything works.


def test_after_all_that_a_promise_is_given_and_kept(stage: Stage) -> None:
    stage.clear()
    job = stage.submit(VICTIM, "--deadline=+5m --max-gpus=2", iterations=60)
    done = stage.wait_state(job, "completed", timeout=90)
    assert done["promise_outcome"] == "kept"
    assert stage.jobs()[stage.victim]["promise_outcome"] in ("open", "kept")

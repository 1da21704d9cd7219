"""The stage of the hostile user: a victim's job with a promise, an attacker, and who looks on."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mini.client import PROGRAM, MiniSlurm, wait_until
from mini.site import USERS, Site

RATES = "1:10,2:18,4:32,8:56,16:90"
VICTIM, ATTACKER = "user1", "user2"
MARKED = "#!/bin/bash\n# EF_STATE_DIR\n{}\n"
"""A batch script that the site's job_submit.lua takes for one of ef-sbatch's."""

SITE = """
[limits]
jobs_per_user = 10
submissions_per_hour = 80
gpu_hours_per_user = 100.0
"""
"""What this site adds to its configuration."""

# Runs on a host as a user for the whole module, so that a try takes milliseconds: one JSON text a
# line in, one out. It runs commands, and sends requests to the daemon as no library would.
AGENT = r"""
import json, socket, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor

def ask(path, wish):
    began, answer = time.monotonic(), b""
    try:
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(wish.get("timeout", 60.0))
        stream.connect(path)
        if "raw" in wish:
            data = wish["raw"].encode("latin-1")
        else:
            body = wish.get("body")
            text = body if isinstance(body, str) else "" if body is None else json.dumps(body)
            content = text.encode("utf-8", "surrogatepass")
            head = "%s %s HTTP/1.1\r\nHost: localhost\r\n" % (wish["method"], wish["path"])
            if content:
                head += "Content-Type: application/json\r\nContent-Length: %d\r\n" % len(content)
            data = head.encode("latin-1") + b"Connection: close\r\n\r\n" + content
        try:
            stream.sendall(data)
            if "raw" in wish:
                stream.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was refused before all of it had come
        while piece := stream.recv(1 << 16):
            answer += piece
    except OSError:
        pass
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1]) if head.startswith(b"HTTP/") else 0
    return [status, body.decode("utf-8", "replace"), time.monotonic() - began]

for line in sys.stdin:
    wish = json.loads(line)
    if "run" in wish:
        done = subprocess.run(["bash", "-c", wish["run"]], input=wish["stdin"], capture_output=True,
                              text=True, errors="replace", timeout=100)
        answer = [done.returncode, done.stdout, done.stderr]
    else:
        with ThreadPoolExecutor(len(wish["wishes"]) if wish["at_once"] else 1) as pool:
            answer = list(pool.map(lambda one: ask(wish["socket"], one), wish["wishes"]))
    print(json.dumps(answer), flush=True)
"""


class Agent:
    """A user at work on a host."""

    def __init__(self, cluster: MiniSlurm, user: str, on: str) -> None:
        options = ("--name", cluster.name, "--user", user, "--on", on)
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), "exec", *options, "--", "python3", "-u", "-c", AGENT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, wish: dict[str, Any]) -> Any:
        """What the agent answers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(wish) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the agent has ended"
        return json.loads(line)

    def close(self) -> None:
        """It goes home."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process.wait(20)


@dataclass(frozen=True)
class Reply:
    """What the daemon answered. `status` 0: it closed the connection."""

    status: int
    body: str
    seconds: float

    @property
    def detail(self) -> str:
        """The sentence of a problem document."""
        try:
            return str(json.loads(self.body).get("detail", ""))
        except ValueError:
            return self.body


class Stage:
    """The site with its daemon, and what the two users do.

    Args:
        cluster: the mini-Slurm, which has job_submit.lua and, where Slurm can, accounting.
    """

    def __init__(self, cluster: MiniSlurm) -> None:
        self.cluster = cluster
        self.site = Site(self._shell, {"start": 6.0, "restart": 8.0, "shrink": 6.0})
        self.victim = 0
        self.pid = 0
        self.last_tick = 0.0
        self._agents: dict[tuple[str, str, str], Agent] = {}

    def agent(self, user: str, on: str, name: str = "") -> Agent:
        """Who works for a user on a host; with another name another one."""
        key = (user, on, name)
        if key not in self._agents:
            self._agents[key] = Agent(self.cluster, user, on)
        return self._agents[key]

    def close(self) -> None:
        """Everybody goes home."""
        for agent in self._agents.values():
            agent.close()

    def _shell(
        self, command: str, *, user: str = "root", on: str = "ctl", stdin: str | None = None
    ) -> str:
        return self.cluster.output(command, user=user, on=on, stdin=stdin)

    def set_up(self) -> None:
        """The daemon as a service, and a job whose promise is to be kept whatever comes."""
        self.site.stop("KILL")
        self.site.prepare()
        for user in USERS:
            file = "~/.config/ef-slurm/ef-slurm.toml"
            self._shell(f"cat >> {file}", user=user, on="login", stdin=SITE)
        self.site.start()
        self.victim = self.submit(VICTIM, "--deadline=+25m --max-gpus=4", iterations=12_000)
        self.wait_state(self.victim, "running")

    # What users do.

    def run(
        self,
        command: str,
        *,
        user: str = ATTACKER,
        on: str = "login",
        stdin: str | None = None,
        check: bool = False,
        agent: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """A command, whatever becomes of it unless `check` is set; never a traceback of ours."""
        wish = {"run": command, "stdin": stdin or ""}
        code, out, err = self.agent(user, on, agent).do(wish)
        assert "Traceback" not in out + err, err
        assert not check or code == 0, f"{user}@{on}: {command}: {out}{err}"
        return subprocess.CompletedProcess(command, code, out, err)

    def sbatch(self, options: str, script: str, *, user: str = ATTACKER) -> int:
        """The id of a plain Slurm job."""
        done = self.run(f"sbatch --parsable {options}", user=user, stdin=script, check=True)
        return int(done.stdout.split(";")[0])

    def training(self, more: str = "") -> str:
        """The training command of these tests, as the nodes see it."""
        pacer = shlex.quote(f"{self.site.paths['checkout']}/tests/cluster/daemon_pacer.py")
        return f"python3 {pacer} --rates {RATES} {more}"

    def ef_sbatch(
        self, user: str, options: str, *, iterations: int = 600, command: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """An ef-sbatch; `command` is a pacer unless it is given."""
        job = f"--iterations={iterations} --global-batch-size=32 --throughput={RATES}"
        return self.run(f"ef-sbatch {job} {options} {command or self.training()}", user=user)

    def submit(self, user: str, options: str, **other: Any) -> int:
        """The id of a job that was taken."""
        done = self.ef_sbatch(user, f"--parsable {options}", **other)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    def held(self, *, user: str = ATTACKER) -> int:
        """A held Slurm job in ef-slurm's partition that nobody has registered."""
        script = MARKED.format("sleep 600")
        # As ef-sbatch submits: a time limit would be in the way of what is registered for it.
        options = "--hold --partition=ef --gres=gpu:1 --time=UNLIMITED"
        return self.sbatch(options, script, user=user)

    def registration(
        self, slurm_job_id: int, *, user: str = ATTACKER, **job: Any
    ) -> dict[str, Any]:
        """The body of a `POST /v1/jobs` as ef-sbatch would send it, with other values."""
        return {
            "job": {
                "slurm_job_id": slurm_job_id,
                "owner": user,
                "uid": 0,
                "name": "hostile",
                "submitted": 1.7e9,
                "kind": "best-effort",
                "iterations": 1000,
                "global_batch_size": 32,
                "curves": [["gpu", {"points": [[1, 10.0]]}]],
                "state_dir": f"{self.site.jobs_dir}/{user}-{slurm_job_id}",
                **job,
            },
            "script": {"text": MARKED.format("sleep 600")},
        }

    def waiting(self, slurm_job_id: int, **job: Any) -> dict[str, Any]:
        """The same of a job that waits for a promise: its owner's limit leaves no room for it."""
        return self.registration(
            slurm_job_id,
            kind="deadline",
            deadline=time.time() + 9 * 86400.0,
            iterations=5_400_000,  # 150 GPU-hours
            if_infeasible="wait",
            **job,
        )

    def ask(
        self,
        *wishes: dict[str, Any],
        user: str = ATTACKER,
        at_once: bool = False,
        agent: str = "",
    ) -> list[Reply]:
        """The daemon's answers to raw requests on its socket, one by one or all at once.

        One by one, "too many requests" is heeded for a while, as every client does: a fast
        machine is through with so many tries a second that the questions of the suite itself
        are over the bound of their user.
        """

        def answers(asked: Sequence[dict[str, Any]]) -> list[Reply]:
            wish = {"socket": self.site.socket, "wishes": asked, "at_once": at_once}
            return [Reply(*answer) for answer in self.agent(user, "ctl", agent).do(wish)]

        replies = answers(wishes)
        patience = time.monotonic() + 3.0
        while not at_once and time.monotonic() < patience:
            refused = [n for n, reply in enumerate(replies) if reply.status == 429]
            if not refused:
                break
            time.sleep(0.1)
            for n, reply in zip(refused, answers([wishes[n] for n in refused]), strict=True):
                replies[n] = reply
        return replies

    def post(self, path: str, body: object, *, user: str = ATTACKER) -> Reply:
        """One request with a body."""
        return self.ask({"method": "POST", "path": path, "body": body}, user=user)[0]

    def get(self, path: str, *, user: str = ATTACKER) -> Reply:
        """One request without."""
        return self.ask({"method": "GET", "path": path}, user=user)[0]

    # What is to be seen.

    def jobs(self, user: str = VICTIM, query: str = "all=true") -> dict[int, dict[str, Any]]:
        """The jobs that a user may see."""
        reply = self.get(f"/v1/jobs?{query}", user=user)
        assert reply.status == 200, reply
        return {int(job["job_id"]): job for job in json.loads(reply.body)["jobs"]}

    def story(self, job_id: int, user: str = ATTACKER) -> str:
        """What is logged of a job."""
        reply = self.get(f"/v1/jobs/{job_id}/story", user=user)
        assert reply.status == 200, reply
        return "\n".join(event["message"] for event in json.loads(reply.body)["events"])

    def log(self) -> str:
        """What the daemon wrote."""
        return self.run(f"cat {shlex.quote(self.site.log_file)}", user="root", on="ctl").stdout

    def wait_state(
        self, job_id: int, *states: str, user: str = VICTIM, timeout: float = 60
    ) -> dict[str, Any]:
        """The job as soon as it is in one of the states."""

        def reached() -> dict[str, Any] | None:
            job = self.jobs(user, f"id={job_id}").get(job_id)
            return job if job is not None and job["state"] in states else None

        try:
            found = wait_until(f"job {job_id} to be {states}", reached, timeout=timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()[-5000:]}") from None
        assert found is not None
        return found

    def slurm(self, job_id: int) -> dict[str, str]:
        """`scontrol show job`."""
        shown = self.run(f"scontrol --oneliner show job {job_id}", user="root").stdout
        words = (word.partition("=") for word in shown.split())
        return {name: value for name, found, value in words if found}

    def check(self, fresh: float = 0.0) -> None:
        """The daemon is the same one and ticks, and the victim's job trains and is safe.

        Args:
            fresh: a tick that is over for so many seconds at most is taken for one: a daemon that
                a try has stopped is then noticed some tries later.

        Raises:
            AssertionError: the attack had an effect.
        """

        def ticked() -> bool:
            ping, jobs = self.ask(
                {"method": "GET", "path": "/v1/ping"},
                {"method": "GET", "path": f"/v1/jobs?id={self.victim}"},
                user=VICTIM,
            )
            assert (ping.status, jobs.status) == (200, 200), (ping, jobs)
            pong = json.loads(ping.body)
            self.pid = self.pid or pong["pid"]
            assert pong["pid"] == self.pid, "the daemon was started again"
            (victim,) = json.loads(jobs.body)["jobs"]
            outcome = victim["promise_outcome"]
            assert outcome in ("open", "kept"), f"the victim's promise is {outcome}"
            if outcome == "open":
                assert victim["promise"] == "safe", f"the victim's promise is {victim['promise']}"
                going_on = ("running", "stopping", "starting")
                assert victim["state"] in going_on, f"the victim's job is {victim['state']}"
            before, self.last_tick = self.last_tick, pong["last_tick"]
            return bool(pong["last_tick"] > before or time.time() - pong["last_tick"] < fresh)

        try:
            wait_until("the daemon to tick", ticked, timeout=60, every=0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()[-5000:]}") from None

    def clear(self) -> None:
        """The attacker's jobs go."""
        self.run(f"scancel -u {ATTACKER}", user="root")

        def gone() -> bool:
            active = self.jobs(ATTACKER, f"user={ATTACKER}")
            left = self.run(f"squeue -h -u {ATTACKER}", user="root").stdout
            return not active and not left

        wait_until("the attacker's jobs to be gone", gone, timeout=60)

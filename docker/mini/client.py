"""A running mini-Slurm as tests see it: everything goes through what `docker/minislurm` does.

A command on a host goes there from this very process: to start `docker/minislurm` for each would
cost as much as half of what the tests do, since most of them ask again and again.
"""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from mini import lifecycle
from mini.settings import Cluster, UserError
from mini.standing import Request, Standing

CHECKOUT = Path(__file__).parents[2]
PROGRAM = CHECKOUT / "docker" / "minislurm"
FINAL_STATES = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "TIMEOUT",
    }
)
Found = TypeVar("Found")
# Cancels everything; fails if then, for 60 s, a job is left or a node is not idle.
CLEAN_UP = """
squeue --noheader --format=%A | xargs --no-run-if-empty scancel --hurry
for i in $(seq 300); do
    [ -z "$(squeue --noheader)" ] && ! sinfo -h -N -o %T | grep -qv '^idle[~%#!]*$' && exit 0
    sinfo -h -N -o %T | grep -q -e down -e drain -e '[*]' && exit 1
    sleep 0.2
done
exit 1
"""


def minislurm(
    *arguments: str,
    timeout: float = 120,
    stdin: str | None = None,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `docker/minislurm` with these arguments; never raises for its exit code."""
    return subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        input=stdin or "",
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def wait_until(
    what: str, find: Callable[[], Found], *, timeout: float = 60, every: float = 0.3
) -> Found:
    """Poll until `find` returns something true, and return it.

    Raises:
        AssertionError: not within `timeout` seconds; tells what it was at the end.
    """
    deadline = time.monotonic() + timeout
    while True:
        found = find()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain for {what}; last: {found!r}")
        time.sleep(every)


@dataclass(frozen=True)
class MiniSlurm:
    """A cluster that is up.

    Attributes:
        docker_host: address of its Docker engine; empty for the default one and for none.
        shared: the directory that all hosts share, as they see it.
        checkout: the checkout, as they see it.
        standing: runs the commands where there is one, see `with_standing`.
    """

    name: str
    engine: str
    suite: str
    nodes: int
    gpus_per_node: int
    accounting: bool
    docker_host: str
    shared: str
    checkout: str
    variants: tuple[str, ...] = ()
    standing: Standing | None = field(default=None, compare=False, repr=False)

    @classmethod
    def named(cls, name: str) -> "MiniSlurm | None":
        """The cluster of that name, if it is up."""
        shown = minislurm("status", "--json", "--name", name)
        if shown.returncode:
            return None
        (status,) = json.loads(shown.stdout)
        places = {name: status[name] for name in ("shared", "checkout")}
        settings: dict[str, Any] = status["cluster"] | places
        settings["variants"] = tuple(settings["variants"])
        return cls(**{one.name: settings[one.name] for one in fields(cls) if one.name in settings})

    @contextmanager
    def with_standing(self) -> Iterator["MiniSlurm"]:
        """The same, whose hosts have a process that runs commands, as long as this lasts.

        For many commands in containers. The native engine's are plain processes anyway.
        """
        if self.engine == "native":
            yield self
            return
        standing = Standing(self._answering)
        try:
            yield replace(self, standing=standing)
        finally:
            standing.close()

    def _answering(self, host: str) -> subprocess.Popen[str]:
        words = ["python3", "-P", f"{self.checkout}/docker/mini/answering.py"]
        invocation = lifecycle.invocation_on(self._cluster, host, "root", words, terminal=False)
        return lifecycle.begin(invocation)

    @property
    def node_names(self) -> list[str]:
        return [f"n{i}" for i in range(1, self.nodes + 1)]

    @property
    def _cluster(self) -> Cluster:
        return Cluster(
            self.name,
            self.suite,
            self.nodes,
            self.gpus_per_node,
            self.engine,
            self.accounting,
            self.docker_host,
            self.variants,
        )

    # --- running things -----------------------------------------------------------

    def exec(
        self,
        *command: str,
        user: str = "root",
        on: str = "login",
        stdin: str | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a host, in the user's home directory, whatever its exit code."""
        invocation = lifecycle.invocation_on(self._cluster, on, user, [*command], terminal=False)
        if self.standing is None:
            done = lifecycle.execute(invocation, capture=True, stdin=stdin, timeout=timeout)
        else:
            request = Request(command, user, self._directory(user), stdin or "", timeout)
            done = self.standing.run(on, request)
        try:
            if done.returncode:
                lifecycle.check_up(self._cluster, on)
        except UserError as down:
            done.stderr += f"{down}\n"
        return done

    def run(
        self,
        command: str | Sequence[str],
        *,
        user: str = "root",
        on: str = "login",
        stdin: str | None = None,
        timeout: float = 120,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """The same with a list of words, or a string that goes to bash.

        Raises:
            AssertionError: it failed and `check` is set.
        """
        words = ["bash", "-c", command] if isinstance(command, str) else command
        result = self.exec(*words, user=user, on=on, stdin=stdin, timeout=timeout)
        if check and result.returncode:
            raise AssertionError(
                f"{user}@{on}: {command!r} ended with {result.returncode}\n"
                f"{result.stdout}{result.stderr}"
            )
        return result

    def output(
        self,
        command: str | Sequence[str],
        *,
        user: str = "root",
        on: str = "login",
        stdin: str | None = None,
    ) -> str:
        """What it prints, without the last line's end."""
        return self.run(command, user=user, on=on, stdin=stdin).stdout.strip()

    def poll(self, command: str, *, user: str = "user1", on: str = "login") -> str:
        """What one of ef-slurm's commands prints, for those who ask again and again.

        Raises:
            AssertionError: it failed.
        """
        if self.standing is None:
            return self.output(command, user=user, on=on)
        words = shlex.split(command)
        request = Request(words, user, self._directory(user), imported=True)
        done = self.standing.run(on, request)
        assert done.returncode == 0, f"{user}@{on}: {command!r}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def _directory(self, user: str) -> str:
        return "/root" if user == "root" else self.home(user)

    def home(self, user: str) -> str:
        return f"{self.shared}/home/{user}"

    def write(self, path: str, text: str, *, user: str) -> str:
        """Write a file as a user; relative paths lie in the user's home.

        Returns:
            The full path.
        """
        full = path if path.startswith("/") else f"{self.home(user)}/{path}"
        self.run(
            ["bash", "-c", 'mkdir -p "$(dirname "$0")" && cat > "$0"', full], user=user, stdin=text
        )
        return full

    def read(self, path: str) -> str:
        return self.run(["cat", path]).stdout

    # --- jobs -----------------------------------------------------------------------

    def sbatch(self, *options: str, script: str, user: str = "user1") -> int:
        """Submit a batch script, given as text; returns the job's id."""
        text = script if script.startswith("#!") else f"#!/bin/bash\n{script}\n"
        result = self.run(["sbatch", "--parsable", *options], user=user, stdin=text)
        return int(result.stdout.strip().partition(";")[0])

    def job(self, job_id: int) -> dict[str, str]:
        """`scontrol show job` as a dictionary; empty once Slurm has forgotten the job."""
        shown = self.run(["scontrol", "--oneliner", "show", "job", str(job_id)], check=False)
        words = (word.partition("=") for word in shown.stdout.split())
        return {name: value for name, found, value in words if found}

    def job_state(self, job_id: int) -> str:
        return self.job(job_id).get("JobState", "")

    def wait_for_state(self, job_id: int, *states: str, timeout: float = 60) -> dict[str, str]:
        """Wait until a job is in one of these states; returns the job."""

        def reached() -> dict[str, str] | None:
            job = self.job(job_id)
            return job if job.get("JobState") in states else None

        return (
            wait_until(f"job {job_id} to be {' or '.join(states)}", reached, timeout=timeout) or {}
        )

    def wait_for_end(self, job_id: int, timeout: float = 120) -> str:
        """Wait until a job has ended; returns its final state."""
        return self.wait_for_state(job_id, *FINAL_STATES, timeout=timeout)["JobState"]

    def cancel_all(self) -> None:
        """No jobs are left, pending, running or completing."""
        self.run(
            "squeue --noheader --format=%A | xargs --no-run-if-empty scancel --hurry", check=False
        )
        wait_until("an empty queue", lambda: not self.output(["squeue", "--noheader"]), timeout=120)

    # --- nodes ----------------------------------------------------------------------

    def node_states(self) -> dict[str, str]:
        """State of each node, as sinfo's long form says it (`idle`, `mixed`, `down*`)."""
        lines = self.output(["sinfo", "-h", "-N", "-p", "batch", "-o", "%N %T"]).splitlines()
        return dict(line.split() for line in lines)

    def wait_for_node(self, node: str, *prefixes: str, timeout: float = 90) -> str:
        """Wait until a node's state starts with one of these; returns the state."""

        def reached() -> str:
            state = self.node_states()[node]
            return state if state.startswith(prefixes) else ""

        return wait_until(f"{node} to be {' or '.join(prefixes)}", reached, timeout=timeout)

    def wait_for_saved_state(self) -> None:
        """slurmctld writes its jobs down every few seconds; what is younger dies with it."""
        files = "$(scontrol show config | sed -n 's/^StateSaveLocation *= //p')/job_state"
        saved = f"stat --format=%.9Y {files}"
        before = self.output(saved, on="ctl")
        # Without a change it may have written down all that there is.
        changes = "scancel $(sbatch --parsable --hold --output=/dev/null --wrap=true)"
        self.output(changes, user="user1")
        wait_until("saved jobs", lambda: self.output(saved, on="ctl") != before)

    def kill(self, host: str, daemon: str = "") -> None:
        """Pull a host's plug, or SIGKILL one daemon on it (`kill("n2", "slurmd")`)."""
        self._switch("kill", host, daemon)

    def start(self, host: str, daemon: str = "") -> None:
        """Bring back what `kill` took."""
        self._switch("start", host, daemon)

    def _switch(self, verb: str, host: str, daemon: str) -> None:
        result = minislurm(verb, "--name", self.name, host, *([daemon] if daemon else []))
        assert result.returncode == 0, result.stderr

    def heal(self) -> None:
        """Every host and daemon runs, no node is drained or down, the queue is empty."""
        if self.run(CLEAN_UP, check=False).returncode == 0:
            return
        (status,) = json.loads(minislurm("status", "--json", "--name", self.name).stdout)
        states = self.node_states() if "powersave" in self.variants else {}
        for host, daemons in status["hosts"].items():
            if states.get(host, "").endswith(("~", "%", "#", "!")):
                continue  # Slurm has switched it off, and is to switch it on
            if daemons is None:
                self.start(host)
            for daemon, state in (daemons or {}).items():
                if state != "running":
                    self.start(host, daemon)
        wait_until("slurmctld", lambda: "is UP" in self.output("scontrol ping || true"))
        self.cancel_all()
        for node, state in self.node_states().items():
            if not state.startswith("idle"):
                self.run(["scontrol", "update", f"nodename={node}", "state=resume"], check=False)
        for node in self.node_names:
            self.wait_for_node(node, "idle")

"""The server: imports, agrees with the other nodes, forks, and waits; or lets torchrun do it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn

from forkserver import child, learned, meeting, preload, script
from forkserver.launch import OWN, SECRET, Launch, state_dir, threads_per_rank
from forkserver.ranks import Failure, Ranks, on_exit, say
from forkserver.store import Store, open_store
from forkserver.waiting import Waiting

TITLE = "ef-slurm: fork server"
"""As what `ps` shows it."""
NOT_WANTED = 143
"""Exit code of a server that waited and is not needed, as of one that TERM has ended."""
MOST_TRIES = 4
"""How often a node begins anew without a package that no fork survives."""


def main(program: str, torchrun: str) -> NoReturn:
    """Start the ranks of this node and end with them.

    Args:
        program: this program's text, to begin anew with.
        torchrun: the text of what starts the ranks where this cannot.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, child.FOR_RANKS)
    words = sys.argv[1:]
    os.environ.update(threads_per_rank(os.environ, Launch.parse(words).ranks))
    Server(program, torchrun, words).run()


class Server:
    """One launch on one node."""

    def __init__(self, program: str, torchrun: str, words: list[str]):
        self._program = program
        self._torchrun = torchrun
        self._words = words
        self._launch = Launch.parse(words)
        self._secret = child.take_variable(SECRET)
        self._environment = dict(os.environ)
        self._known = learned.Learned()
        self._preloaded = preload.Preloaded()
        self._began = time.monotonic()
        self._waiting = Waiting(self._launch.ready, not self._launch.node)
        # Its values would be lost with the module.
        self._own_main = sys.modules["__main__"]
        self._store: Store | None = None
        self._host: meeting.Host | None = None

    def run(self) -> NoReturn:
        launch = self._launch
        child.rename_process([TITLE, launch.script])
        self._waiting.begin()
        obstacle = launch.obstacle or self._import()
        seconds = time.monotonic() - self._began
        module = sys.modules["__main__"]
        try:
            agreed, connection = self._meet(obstacle)
        except meeting.NoMeetingError as error:
            say(f"node {launch.node}: {error}")
            self._end(1)
        self._waiting.end()
        if agreed.obstacle:
            if launch.node == 0:
                say(f"torchrun starts the ranks: {agreed.obstacle}")
            self._become_torchrun()
        ranks = Ranks.prepare(launch.rank(0), self._store.pid if self._store else 0)
        if launch.node == 0:
            count = len(self._preloaded.modules)
            say(f"ranks are forked, {count} modules were imported for them in {seconds:.1f} s")
        preload.settle()
        environments = [self._environment_of(rank, agreed) for rank in range(launch.ranks)]

        def close() -> None:
            for mine in (self._host, connection):
                if mine is not None:
                    mine.close()

        try:
            local_rank = ranks.fork(environments, close)
        except OSError as error:  # the ranks that are there already end with this process
            say(f"node {launch.node}: no rank can be forked: {error.strerror}")
            self._end(1)
        if local_rank is not None:
            child.draw_anew(self._preloaded.torch_seed)
            # Ranks of a companion may never have got beyond their beginning.
            if launch.rank(local_rank) == 0 and not os.environ.get("EF_CHANGE"):
                on_exit(self._learn)
            child.run(module, launch.script)
        outcome = ranks.wait()
        if isinstance(outcome, Failure):
            say(str(outcome))
            self._end(outcome.code)
        if self._host is not None and not outcome:
            self._host.await_leave()
        self._end(outcome)

    def _import(self) -> str:
        """Import for all ranks; why that cannot be, or ""."""
        launch = self._launch
        child.set_paths(launch.script, launch.arguments)
        child.main_module(launch.script)
        self._known = learned.load(state_dir())
        if self._known.obstacle:
            return self._known.obstacle
        try:
            with open(launch.script, "rb") as file:  # noqa: PTH123
                source = file.read()
        except OSError as error:
            return f"{launch.script} cannot be read: {error.strerror}"
        beginning = script.read(source, launch.script)
        if beginning.obstacle:
            return beginning.obstacle
        preloader = preload.Preloader(frozenset({*launch.left, *self._known.left}))
        try:
            self._preloaded = preloader.run(beginning, self._known.modules, launch.preload)
        except preload.NotForkableError as error:
            if error.package.partition(".")[0] == "torch" and "." not in error.package:
                return str(error)
            if preload.ALL in launch.left:
                return str(error)
            package = preload.ALL if len(launch.left) >= MOST_TRIES else error.package
            what = "all but torch" if package == preload.ALL else "it"
            say(f"node {launch.node}: {error}: {what} is left to the ranks")
            self._begin_anew(package)
        except Exception as error:
            return f"torch cannot be imported: {type(error).__name__}: {error}"
        if not preload.cuda_is_untouched():
            return "what the script imports touches CUDA"
        why = preload.what_is_left()
        return f"what the script imports {why}" if why else ""

    def _meet(self, obstacle: str) -> tuple[meeting.Agreed, Any]:
        """What all nodes do, and the connection to the first one."""
        launch = self._launch
        if launch.nodes > 1 and not self._secret:
            return meeting.Agreed(f"{SECRET} is not set"), None
        if launch.node:
            return meeting.attend(launch.address, launch.port, launch.node, self._secret, obstacle)
        others: Mapping[int, str] = {}
        if launch.nodes > 1:
            try:
                listener = meeting.listen(launch.port, self._secret)
            except OSError as error:
                ports = ", ".join(map(str, meeting.places(launch.port, self._secret)))
                say(f"ports {ports} are taken: {error.strerror}")
                self._end(1)
            names = meeting.node_names()
            self._host = meeting.Host(listener, launch.nodes, self._secret, names)
            others = self._host.gather()
        for node, why in sorted(others.items()):
            obstacle = obstacle or (why and f"node {node}: {why}")
        if obstacle:
            agreed = meeting.Agreed(obstacle)
        else:
            self._store = open_store(launch.port)
            agreed = meeting.Agreed("", self._store.port, self._store.by_agent)
        if not self._waiting.await_word(self._host.connections if self._host else ()):
            self._end(NOT_WANTED)
        if self._host is not None:
            self._host.tell(agreed)
        return agreed, None

    def _environment_of(self, local_rank: int, agreed: meeting.Agreed) -> dict[str, str]:
        launch = self._launch
        result = dict(self._environment)
        for name, value in self._preloaded.variables.items():
            if value is None:
                result.pop(name, None)
            else:
                result[name] = value
        result.update(launch.variables(local_rank, agreed.port, agreed.agent_store))
        if not agreed.agent_store:
            result["USE_LIBUV"] = "0"
        torch: Any = sys.modules["torch"]
        version = tuple(int(part) for part in torch.__version__.split(".")[:2])
        prefix = "TORCH_" if version >= (2, 2) else ""
        result.setdefault(f"{prefix}NCCL_ASYNC_ERROR_HANDLING", "1")
        return result

    def _learn(self) -> None:
        """In rank 0, when it ends: what the next launch imports early."""
        modules = learned.installed_modules()
        left = {**self._known.left, **dict.fromkeys(self._launch.left, "no fork survives it")}
        obstacle = learned.other_place(self._preloaded.modules)
        known = replace(self._known, modules=modules, left=left, obstacle=obstacle)
        if known != self._known and state_dir():
            learned.save(state_dir(), known)

    def _begin_anew(self, package: str) -> NoReturn:
        words = [f"--left={package}", *self._words]
        self._execute(self._program, words)

    def _become_torchrun(self) -> NoReturn:
        if self._host is not None:
            self._host.close()
        self._execute(self._torchrun, [w for w in self._words if not w.startswith(OWN)])

    def _execute(self, program: str, words: list[str]) -> NoReturn:
        self._waiting.end()
        preload.end_children()
        # What the imports did to the environment is undone; -u as torchrun gives it to the ranks.
        os.environ.clear()
        os.environ.update(self._environment)
        if program is self._program and self._secret:
            os.environ[SECRET] = self._secret
        sys.stdout.flush()
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, child.FOR_RANKS)
        os.execv(sys.executable, [sys.executable, "-u", "-c", program, *words])  # noqa: S606

    def _end(self, code: int) -> NoReturn:
        """Without what the imported packages would do at the end: they belong to the ranks."""
        if self._store is not None:
            self._store.close()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

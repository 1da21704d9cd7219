"""A launch of forked ranks, and companions that come to it."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ef_slurm.contract import Action, Order, Phase, Progress, StateDir
from tests.unit.training.forked import Parent, free_port

SCRIPT = "tests.unit.training.live_script"


@dataclass
class LiveLaunch:
    """One launch.

    Args:
        given: what `live_script` is given.
        ranks: pids by name of the node.
    """

    parent: Parent
    directory: Path
    given: dict[str, Any]
    batch: int = 48
    iterations: int = 100_000
    generation: int = 1
    variables: dict[str, str] = field(default_factory=dict)
    ranks: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state = StateDir(self.directory / "state")
        self.state.path.mkdir(mode=0o700, exist_ok=True)
        self.given = {"record": str(self.directory / "record"), **self.given}

    def start(self, nodes: Sequence[str], per_node: int, change: int = 0) -> None:
        """Start ranks: those of the launch, or of a companion for a live change."""
        port = free_port()
        for rank in range(len(nodes) * per_node):
            number, local = divmod(rank, per_node)
            variables = {
                "RANK": rank,
                "LOCAL_RANK": local,
                "WORLD_SIZE": len(nodes) * per_node,
                "LOCAL_WORLD_SIZE": per_node,
                "GROUP_RANK": number,
                "GROUP_WORLD_SIZE": len(nodes),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "TORCHELASTIC_RUN_ID": "none",
                "EF_NODES": ",".join(nodes),
                "EF_STATE_DIR": self.state.path,
                "EF_GENERATION": self.generation,
                "EF_GLOBAL_BATCH_SIZE": self.batch,
                "EF_ITERATIONS": self.iterations,
                **({"EF_CHANGE": change} if change else {}),
                **self.variables,
            }
            log = self.directory / f"log.{self.generation}.{nodes[number]}.{local}"
            pid = self.parent.fork(
                f"{SCRIPT}:train",
                self.given,
                {name: str(value) for name, value in variables.items()},
                log,
            )
            self.ranks.setdefault(nodes[number], []).append(pid)

    def until(self, condition: Callable[[Progress], bool], seconds: float = 180.0) -> Progress:
        """Wait for a report."""
        end = time.monotonic() + seconds
        while True:
            progress = self.state.read_progress()
            if progress is not None and progress.generation == self.generation:
                if condition(progress):
                    return progress
                assert progress.phase is not Phase.FAILED, progress.message + self.logs()
            assert time.monotonic() < end, f"{progress}{self.logs()}"
            time.sleep(0.02)

    def come(self, nodes: Sequence[str]) -> None:
        """Wait until these nodes can be trained on."""
        self.until(lambda told: {*nodes} <= {*told.ready.split(","), *told.nodes.split(",")})

    def running(self) -> Progress:
        """Wait until it trains."""
        return self.until(lambda told: told.first_iteration_at is not None)

    def order(self, nodes: str, **more: Any) -> int:
        """Order the next change; its number."""
        progress = self.state.read_progress()
        assert progress is not None
        number = max(progress.change, progress.refused_change) + 1
        self.state.write_order(
            Order(
                self.generation,
                Action.RESIZE,
                time.time(),
                "a test",
                change=number,
                nodes=nodes,
                **more,
            )
        )
        return number

    def refused(self, number: int) -> Progress:
        """Wait until a change is refused."""
        return self.until(lambda told: told.refused_change == number)

    def resize(self, nodes: str, **more: Any) -> Progress:
        """Order a change and wait for it."""
        number = self.order(nodes, **more)
        told = self.until(lambda told: max(told.change, told.refused_change) == number)
        assert told.change == number, told.refusal
        return told

    def slowly(self, on: bool) -> None:
        """Let it train slowly, as long as something is to happen to it."""
        path = self.directory / "slowly"
        path.touch() if on else path.unlink()

    def stop(self) -> None:
        """Order a stop."""
        self.state.write_order(Order(self.generation, Action.STOP, time.time(), "a test"))

    def codes(self, *nodes: str) -> list[int]:
        """Exit codes of all ranks of the nodes, waited for."""
        return [self.parent.code(pid) for node in nodes for pid in self.ranks[node]]

    def entries(self) -> list[dict[str, Any]]:
        """What was recorded, by iteration."""
        lines = Path(self.given["record"]).read_text().splitlines()
        return [json.loads(line) for line in lines]

    def iterated(self, more: int) -> None:
        """Wait for so many iterations."""
        path = Path(self.given["record"])
        wanted = (len(path.read_text().splitlines()) if path.exists() else 0) + more
        end = time.monotonic() + 180
        while not path.exists() or len(path.read_text().splitlines()) < wanted:
            assert time.monotonic() < end, self.logs()
            time.sleep(0.01)

    def until_iteration(self, iteration: int) -> None:
        """Wait until the one before it is done."""
        end = time.monotonic() + 180
        while not (entries := self.entries()) or entries[-1]["iteration"] < iteration - 1:
            assert time.monotonic() < end, self.logs()
            time.sleep(0.002)

    def again(self) -> "LiveLaunch":
        """The next launch."""
        return replace(self, generation=self.generation + 1, ranks={})

    def logs(self) -> str:
        """All that was printed."""
        return "".join(
            f"\n--- {path.name}\n{path.read_text()}"
            for path in sorted(self.directory.glob("log.*"))
        )

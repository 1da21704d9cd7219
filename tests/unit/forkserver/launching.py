"""Launches of real ranks on this host: by the fork server of a batch script, and by torchrun."""

import json
import os
import secrets
import socket
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ef_slurm.launch.program import fork_server_program
from ef_slurm.resources import templates_dir

TOP = Path(__file__).parents[3]
SECRET = secrets.token_hex(8)
"""Of this process's launches alone: the hidden ports follow from it, and tests run side by side."""


@cache
def program(launcher: str) -> str:
    if launcher == "forkserver":
        return fork_server_program(Path("/nowhere"))
    return (templates_dir() / "torchrun.py").read_text(encoding="utf-8")


def free_ports() -> int:
    """A port that is free, and so is the one behind it."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


def environment(**changes: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("EF_", "SLURM_", "PYTEST_", "COV_"))
    }
    own = {"PYTHONPATH": str(TOP), "OMP_NUM_THREADS": "1", "EF_LAUNCH_SECRET": SECRET}
    return {**kept, **own, **changes}


def launcher(ranks: int) -> list[str]:
    """What a batch script starts a Python script of one node with, up to the script."""
    words = [sys.executable, "-u", "-c", program("forkserver"), f"--nproc_per_node={ranks}"]
    return [*words, f"--master_port={free_ports()}"]


@dataclass
class Launched:
    """A launch of one node that runs."""

    process: subprocess.Popen[str]

    def end(self, timeout: float = 120) -> tuple[int, str, str]:
        """Exit code, output, errors."""
        out, errors = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, errors


@dataclass
class Launching:
    """What is launched."""

    directory: Path
    ranks: int = 2
    nodes: int = 1
    launcher: str = "forkserver"
    options: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_ports)

    def script(self, text: str, name: str = "train.py") -> Path:
        path = self.directory / name
        path.write_text(textwrap.dedent(text))
        return path

    def begin(self, script: Path, *arguments: str, node: int = 0) -> Launched:
        words = [sys.executable, "-u", "-c", program(self.launcher)]
        words += ["--max_restarts=0", "--monitor_interval=0.1", *self.options]
        words += [f"--nnodes={self.nodes}", f"--nproc_per_node={self.ranks}"]
        words += [f"--node_rank={node}", "--master_addr=127.0.0.1", f"--master_port={self.port}"]
        process = subprocess.Popen(
            [*words, str(script), *arguments],
            env=environment(**self.variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.directory,
        )
        return Launched(process)

    def run(self, script: Path, *arguments: str) -> tuple[int, str, str]:
        """All nodes, to their end: the highest code, and what all have said."""
        launched = [self.begin(script, *arguments, node=node) for node in range(self.nodes)]
        ended = [one.end() for one in launched]
        code = max(code for code, _, _ in ended)
        return code, "".join(out for _, out, _ in ended), "".join(err for _, _, err in ended)

    def says(self, text: str, *arguments: str, rank: int | None = None) -> Any:
        """What a script prints as JSON, one line for each rank: of all, or of one."""
        code, out, errors = self.run(self.script(text), *arguments)
        assert code == 0, errors
        found = {value["rank"]: value for value in values(out)}
        assert found.keys() == set(range(self.nodes * self.ranks)), errors
        return found if rank is None else found[rank]


def values(text: str) -> list[dict[str, Any]]:
    """The JSON objects in a text: of two ranks that print at once the lines run together."""
    found, rest = [], text
    while "{" in rest:
        value, end = json.JSONDecoder().raw_decode(rest, rest.index("{"))
        found.append(value)
        rest = rest[end:]
    return found


FAKE_TORCH = """
    __version__ = "2.6.0"
    import socket
    from torch import cuda, distributed

    def initial_seed():
        return 67280421310721
"""
FAKE_CUDA = """
    import os
    import torch

    # A context is no good in another process than that which made it.
    owner = 0

    def init():
        global owner
        owner = os.getpid()

    def _is_in_bad_fork():
        return owner not in (0, os.getpid())
"""
FAKE_DISTRIBUTED = """
    import socket

    class TCPStore:
        def __init__(self, host, port, is_master, wait_for_workers):
            try:
                self.socket = socket.create_server(("", port))
            except OSError as error:
                raise RuntimeError(str(error)) from None
            self.port = self.socket.getsockname()[1]
"""


def fake_torch(directory: Path) -> dict[str, str]:
    """What of torch the server knows, imported in no time; the variables with which it is found."""
    variables = package(directory, "torch", FAKE_TORCH)
    for name, text in (("cuda", FAKE_CUDA), ("distributed", FAKE_DISTRIBUTED)):
        place = directory / "site-packages" / "torch" / f"{name}.py"
        place.write_text(textwrap.dedent(text))
    return variables


def package(directory: Path, name: str, text: str) -> dict[str, str]:
    """An installed package; the variables with which it is found."""
    place = directory / "site-packages"
    (place / name).mkdir(parents=True, exist_ok=True)
    (place / name / "__init__.py").write_text(textwrap.dedent(text))
    return {"PYTHONPATH": f"{TOP}{os.pathsep}{place}"}

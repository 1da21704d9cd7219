"""What cannot be forked into is started by torchrun, on all nodes alike, and the log says why; what
only some packages cannot bear is left to the ranks."""

import json
import os
from pathlib import Path

import pytest

from tests.unit.forkserver.launching import Launching, fake_torch, package, values

SAYS = """
import json, os, sys
print(json.dumps({"rank": int(os.environ["RANK"]), "forked": "forkserver.main" in sys.modules}))
"""
OBSTACLES = {
    "an option": ("", ("--tee=3",), "the option --tee=3 is torchrun's own"),
    "the environment": (
        "import os\nos.environ['OMP_NUM_THREADS'] = str(os.cpu_count())\nimport torch",
        (),
        "line 3 of ",
    ),
}


def started_by_torchrun(launching: Launching, text: str) -> str:
    """The log of a launch on all nodes, none of whose ranks was forked."""
    code, out, errors = launching.run(launching.script(text + "\n" + SAYS))
    assert code == 0, errors
    found = values(out)
    assert sorted(one["rank"] for one in found) == list(range(launching.nodes * launching.ranks))
    assert not any(one["forked"] for one in found)
    return errors


@pytest.mark.parametrize("case", OBSTACLES)
def test_torchrun_starts_the_ranks(tmp_path: Path, case: str) -> None:
    text, options, why = OBSTACLES[case]
    log = started_by_torchrun(Launching(tmp_path, options=options), "\n" + text)
    assert log.count("ef-slurm: torchrun starts the ranks: ") == 1
    assert why in log


def test_one_node_that_cannot_fork_is_enough(tmp_path: Path) -> None:
    """Each node looks at its own; here only one has the option."""
    launching = Launching(tmp_path, nodes=2, ranks=1)
    script = launching.script(SAYS)
    launched = [launching.begin(script)]
    launching.options = ("--event_log_handler=null",)
    launched.append(launching.begin(script, node=1))
    ended = [one.end() for one in launched]
    for code, out, errors in ended:
        assert code == 0, errors
        assert '"forked": false' in out
    why = "torchrun starts the ranks: node 1: the option --event_log_handler=null is torchrun's own"
    assert why in ended[0][2]


LEFT = {
    "threads": (
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(5,), daemon=True).start()",
        "starts threads",
    ),
    "a device": ("kept = open('/dev/ptmx')", f"opens {os.path.realpath('/dev/ptmx')}"),
    "a process": ("import subprocess\nkept = subprocess.Popen(['sleep', '5'])", "starts processes"),
    "a rank": (
        "import os\nrank = int(os.environ.get('RANK', 0))",
        "asks for RANK, which is a rank's,",
    ),
}


@pytest.mark.parametrize("case", LEFT)
def test_a_package_is_left_to_the_ranks(tmp_path: Path, case: str) -> None:
    text, why = LEFT[case]
    state = tmp_path / "state"
    state.mkdir()
    variables = {**fake_torch(tmp_path), "EF_STATE_DIR": str(state)}
    package(tmp_path, "harmless", "import os\nmaker = os.getpid()")
    package(tmp_path, "odd", text + "\nimport os\nmaker = os.getpid()")
    script = """
        import json, os
        import harmless, odd
        print(json.dumps({
            "rank": int(os.environ["RANK"]), "seen": getattr(odd, "rank", None),
            "own": odd.maker == os.getpid(), "shared": harmless.maker == os.getppid(),
        }))
    """
    for launch in (1, 2):
        launching = Launching(tmp_path, variables=variables)
        code, out, errors = launching.run(launching.script(script))
        assert code == 0, errors
        assert len(values(out)) == 2
        for one in values(out):
            assert one["own"]
            assert one["shared"]
            assert one["seen"] in (None, one["rank"])
        # It is learned: the second launch does not try.
        assert errors.count(f"odd {why} when it is imported: it is left") == (launch == 1)


def test_many_such_packages_are_no_reason_for_many_tries(tmp_path: Path) -> None:
    variables = {**fake_torch(tmp_path), "EF_STATE_DIR": str(tmp_path)}
    names = [f"odd{number}" for number in range(9)]
    for name in names:
        package(tmp_path, name, "import os\nrank = os.environ['RANK']")
    for launch in (1, 2):
        launching = Launching(tmp_path, ranks=1, variables=variables)
        code, _, errors = launching.run(launching.script(f"import {', '.join(names)}"))
        assert code == 0, errors
        assert errors.count("left to the ranks") == (5 if launch == 1 else 0)
        assert errors.count("all but torch is left to the ranks") == (launch == 1)
        assert "ranks are forked" in errors


def test_what_an_import_sets_stays_and_what_the_script_sets_first_is_seen(tmp_path: Path) -> None:
    variables = {**fake_torch(tmp_path), "KEPT": "1"}
    package(
        tmp_path,
        "careful",
        """
        import os
        seen = {name: os.environ.get(name) for name in ("A", "B", "KEPT")}
        os.environ["SET_BY_IMPORT"] = "yes"
        os.environ.pop("KEPT")
        """,
    )
    script = """
        import json, os
        os.environ["A"] = "a"
        os.environ.setdefault("B", "b")
        os.environ.setdefault("HOME", "elsewhere")
        import torch
        import careful
        print(json.dumps({
            "rank": int(os.environ["RANK"]), "seen": careful.seen,
            "forked": careful.__loader__ is not None and os.getppid() > 1,
            "now": {n: os.environ.get(n) for n in ("A", "B", "KEPT", "SET_BY_IMPORT")},
            "nvml": os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK"),
        }))
    """
    found = Launching(tmp_path, ranks=1, variables=variables).says(script, rank=0)
    assert found["seen"] == {"A": "a", "B": "b", "KEPT": "1"}
    assert found["now"] == {"A": "a", "B": "b", "KEPT": None, "SET_BY_IMPORT": "yes"}
    assert found["nvml"] is None


def test_cuda_that_an_import_touches(tmp_path: Path) -> None:
    """torch itself says whether a child of the server could use it."""
    variables = fake_torch(tmp_path)
    package(tmp_path, "eager", "from torch import cuda\ncuda.init()")
    launching = Launching(tmp_path, ranks=1, variables=variables)
    _, _, errors = launching.run(launching.script("import torch\nimport eager\n"))
    assert "torchrun starts the ranks: what the script imports touches CUDA" in errors


def test_the_users_own_modules_are_left_to_the_ranks(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import os\nmaker = os.getpid()\n")
    state = tmp_path / "state"
    state.mkdir()
    variables = {**fake_torch(tmp_path), "EF_STATE_DIR": str(state)}
    script = """
        import json, os
        import torch
        import mine
        print(json.dumps({"rank": int(os.environ["RANK"]), "own": mine.maker == os.getpid()}))
    """
    for _ in range(2):
        launching = Launching(tmp_path, ranks=1, variables=variables)
        assert launching.says(script, rank=0)["own"]
    learned = json.loads((state / "imports.json").read_text())
    assert "torch" in learned["modules"]
    assert "mine" not in learned["modules"]


def test_a_path_that_the_script_changes_is_noticed(tmp_path: Path) -> None:
    """The next launch is torchrun's: another torch was meant than the one that the server had."""
    state = tmp_path / "state"
    state.mkdir()
    variables = {**fake_torch(tmp_path), "EF_STATE_DIR": str(state)}
    other = tmp_path / "other"
    other.mkdir()
    fake_torch(other)
    script = f"""
        import sys
        sys.path.insert(0, {str(other / "site-packages")!r})
        import torch
    """
    launching = Launching(tmp_path, ranks=1, variables=variables)
    code, _, errors = launching.run(launching.script(script))
    assert code == 0, errors
    obstacle = json.loads((state / "imports.json").read_text())["obstacle"]
    place = "site-packages/torch/__init__.py"
    assert obstacle == f"the script finds torch in {other}/{place}, not in {tmp_path}/{place}"

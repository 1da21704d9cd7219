"""What is read of a script before it runs."""

import pytest
from forkserver.script import Beginning, Step, read


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("import torch", (Step("torch"),)),
        ("import torch.nn as nn, json", (Step("torch.nn"), Step("json"))),
        (
            "from torch.optim import AdamW\nfrom . import x\nfrom torch import *",
            (Step("torch.optim"), Step("torch.optim.AdamW", True), Step("torch")),
        ),
        ("'''doc'''\nfrom __future__ import annotations", (Step("__future__"),)),
        (
            "import os\nos.environ['A'] = 'b'\nfrom os import environ\nenviron['C'] = 'd'",
            (
                *(Step("os"), Step(name="A", value="b")),
                *(Step("os"), Step("os.environ", True), Step(name="C", value="d")),
            ),
        ),
        (
            "os.environ.setdefault('A', 'b')\nimport torch",
            (Step(name="A", value="b", only_if_unset=True), Step("torch")),
        ),
        # Reading is no change, and what a function does it does later.
        ("import torch\nx = os.environ['RANK']\nimport json", (Step("torch"), Step("json"))),
        ("def f():\n    os.environ['A'] = str(1)\nimport torch", (Step("torch"),)),
        # Behind torch a change only ends what can be foreseen.
        ("import torch\nos.environ['A'] = str(1)\nimport json", (Step("torch"),)),
        ("try:\n    import torch\nexcept ImportError:\n    pass\nos.environ.clear()", ()),
        ("if x:\n    import json", ()),
        ("", ()),
    ],
)
def test_what_can_be_done_before(text: str, steps: tuple[Step, ...]) -> None:
    assert read(text.encode(), "t.py") == Beginning(steps)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("import os\nos.environ['A'] = str(1)\nimport torch", 2),
        ("os.environ[name] = 'b'\nimport torch", 1),
        ("\nos.environ.update(A='b')", 2),
        ("if x:\n    os.environ['A'] = 'b'\nimport torch", 2),
        ("for i in range(3): os.environ.pop(i)", 1),
        ("del os.environ['A']", 1),
        ("os.environ |= {}", 1),
        ("os.putenv('A', 'b')", 1),
        ("from dotenv import load_dotenv\nload_dotenv()", 2),
        ("class C:\n    os.environ['A'] = f(1)", 2),
        ("def main():\n    os.environ['A'] = 'b'\n    import torch\nmain()", 2),
        ("if 1:\n    os.environ.clear()\n    import torch", 2),
    ],
)
def test_an_environment_that_changes_before_torch_is_an_obstacle(text: str, line: int) -> None:
    found = read(text.encode(), "t.py")
    assert not found.steps
    assert found.obstacle.startswith(f"line {line} of t.py changes the environment before torch")


@pytest.mark.parametrize("text", [b"a = = b", b"\xff", b"\0", b"def f(:"])
def test_what_is_no_python(text: bytes) -> None:
    assert read(text, "t.py").obstacle.startswith("t.py is no Python script: ")

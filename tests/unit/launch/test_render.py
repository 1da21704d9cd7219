"""What is sent to Slurm, held by files that a reviewer can read.

After a wanted change: EF_UPDATE_GOLDEN=1 pytest tests/unit/launch, then look at the difference.
"""

import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ef_slurm.launch import Container, ContainerKind, LaunchError, LaunchRequest, is_python, render

GOLDEN = Path(__file__).parent / "golden"
PLAIN = LaunchRequest(
    command=("train.py", "--lr", "0.1"),
    state_dir="/shared/state/%j",
    iterations=1000,
    global_batch_size=256,
)
CASES = {
    "plain": PLAIN,
    "everything": LaunchRequest(
        command=("/shared/my project/it's é.py", "--text", 'a "b" $HOME `date`\nnew line', ""),
        state_dir="/shared/st ate/it's",
        iterations=20_000,
        global_batch_size=64,
        python="/opt/venv/bin/python",
        job_id=77,
        job_name='"ü" it\'s',
        deadline=1767225600.0,
        nodes=2,
        gpus_per_node=4,
        cpus_per_gpu=8,
        sbatch_options=("--partition=ef", "--comment='a b'"),
        max_batch_per_gpu=8,
        checkpoint_seconds=60,
        keep_checkpoints=5,
        stop_signal="RTMIN+3",
        wait_seconds=30,
        modules=("cuda/12.4", "gcc"),
        conda="torch env",
        environment=(("NCCL_SOCKET_IFNAME", "ib0"), ("NOTE", "it's $5")),
        torchrun_options=("--log-dir=/tmp/my logs",),
    ),
    "any_command": replace(PLAIN, command=("./solver", "-n", "3"), torchrun=False, gpus_per_node=0),
    "apptainer": replace(
        PLAIN, container=Container(ContainerKind.APPTAINER, "/images/my torch.sif", ("/data",))
    ),
    "pyxis": replace(
        PLAIN,
        container=Container(ContainerKind.PYXIS, "nvcr.io#nvidia/pytorch:25.01", ("/d:/d",)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    script = render(CASES[name])
    path = GOLDEN / f"{name}.sbatch"
    if os.environ.get("EF_UPDATE_GOLDEN"):
        path.write_text(script)
    assert script == path.read_text()


@pytest.mark.parametrize("name", CASES)
def test_is_a_shell_script(name: str) -> None:
    subprocess.run(["bash", "-n"], input=render(CASES[name]), text=True, check=True)


def printable(text: str) -> bool:
    return all(ord(character) >= 32 or character in "\t\n" for character in text)


texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(printable)


@settings(deadline=None)
@given(st.lists(texts, min_size=1))
def test_every_argument_arrives_untouched(words: list[str]) -> None:
    script = render(replace(PLAIN, command=tuple(words), torchrun=False))
    begin = script.index("ef_command=(")
    array = script[begin : script.index("\n)\n", begin) + 2]
    assert shlex.split(array.removeprefix("ef_command=(").removesuffix(")")) == words


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"command": ()}, "command: nothing to run"),
        ({"state_dir": "here"}, "state_dir: 'here' is not an absolute path"),
        ({"iterations": 0}, "iterations: 0 is less than 1"),
        ({"nodes": 0}, "nodes: 0 is less than 1"),
        ({"job_name": "a\nb"}, "job_name: 'a\\nb' holds a control character"),
        ({"sbatch_options": ("--comment=a\nscancel",)}, "sbatch_options: "),
        ({"sbatch_options": ("partition",)}, "'partition' does not begin with -"),
        ({"command": ("a\x00b",)}, "command: 'a\\x00b' holds a control character"),
        ({"environment": (("1A", "x"),)}, "'1A'='x': not the name of a variable"),
        ({"stop_signal": "usr2"}, "stop_signal: 'usr2' is no name such as USR2"),
        ({"stop_signal": "USR1"}, "stop_signal: USR1 cannot be used"),
    ],
)
def test_bad_requests_name_the_field(changes: dict[str, object], said: str) -> None:
    with pytest.raises(LaunchError) as error:
        replace(PLAIN, **changes)  # type: ignore[arg-type]
    assert said in str(error.value)


def test_a_site_overrides_blocks(tmp_path: Path) -> None:
    (tmp_path / "site.j2").write_text(
        '{% extends "default/torchrun.sbatch.j2" %}\n'
        "{% block network %}\nexport NCCL_SOCKET_IFNAME=ib0\n{% endblock %}\n"
        "{% block modules %}\n{{ super() }}\nsource {{ state_dir }}/env\n{% endblock %}\n"
        "{% block epilogue %}\ndf -h\n{% endblock %}\n"
    )
    script = render(replace(PLAIN, modules=("gcc",), state_dir="/a b"), "site.j2", [tmp_path])
    assert "\nexport NCCL_SOCKET_IFNAME=ib0\n" in script
    assert "module load gcc\n\nsource '/a b'/env\n" in script
    assert "ef_epilogue() {\n    :\ndf -h\n" in script


def test_a_site_replaces_a_template_of_ours(tmp_path: Path) -> None:
    (tmp_path / "torchrun.sbatch.j2").write_text("{{ job_id }} {{ command[0] }}")
    assert render(PLAIN, site_templates=[tmp_path]) == "None train.py"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ colour }}", "'colour' is undefined"),
        ("a\n{% if %}", "bad.j2:2: "),
        ('{% include "none" %}', "no template 'none'"),
    ],
)
def test_wrong_templates_are_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "bad.j2").write_text(text)
    with pytest.raises(LaunchError) as error:
        render(PLAIN, "bad.j2", [tmp_path])
    assert said in str(error.value)


def test_is_python(tmp_path: Path) -> None:
    for name, first, expected in (
        ("a", "#!/usr/bin/env python3\n", True),
        ("b", "#!/bin/sh\n", False),
        ("c", "", False),
    ):
        (tmp_path / name).write_text(first)
        assert is_python(str(tmp_path / name)) is expected
    assert is_python("not there yet.py")
    assert not is_python(str(tmp_path / "gone"))

"""What is sent to Slurm, held by files that a reviewer can read.

After a wanted change: EF_UPDATE_GOLDEN=1 pytest tests/unit/launch, then look at the difference.
"""

import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ef_slurm.contract import (
    DEFAULT_CHECKPOINT_SECONDS,
    DEFAULT_KEEP_CHECKPOINTS,
    DEFAULT_STOP_SIGNAL,
)
from ef_slurm.launch import LaunchRequest, TemplateProblemError, is_python, render
from ef_slurm.launch.program import fork_server_program
from ef_slurm.model import ContainerRuntime, Launcher, LaunchSettings, ModelError, StopSignal
from ef_slurm.resources import templates_dir

GOLDEN = Path(__file__).parent / "golden"
PLAIN = LaunchRequest(
    command=("train.py", "--lr", "0.1"),
    state_dir="/shared/state/bert",
    order_file="/shared/orders/1001-5d41402abc4b2a76/order.json",
    iterations=1000,
    global_batch_size=256,
)
CASES = {
    "plain": PLAIN,
    "everything": LaunchRequest(
        command=("/shared/my project/it's é.py", "--text", 'a "b" $HOME `date`\nnew line', ""),
        state_dir="/shared/st ate/it's",
        order_file="/shared/or ders/it's/order.json",
        iterations=20_000,
        global_batch_size=64,
        job_name='"ü" it\'s',
        deadline=1767225600.0,
        cpus_per_gpu=8,
        sbatch_options=("--partition=ef", "--comment='a b'"),
        max_batch_per_gpu=8,
        settings=LaunchSettings(
            python="/opt/my python",
            preload=("numpy", "torch.optim"),
            modules=("cuda/12.4", "gcc"),
            conda_env="torch env",
            environment={"NCCL_SOCKET_IFNAME": "ib0", "NOTE": "it's $5\n$(date)"},
            srun_options=("--mpi=none", "--label"),
            torchrun_options=("--log-dir=/tmp/my logs",),
            checkpoint_interval=60,
            keep_checkpoints=5,
            stop_signal=StopSignal.URG,
            decision_wait=30,
        ),
    ),
    "any_command": replace(PLAIN, command=("./solver", "-n", "3"), torchrun=False),
    "own_steps": replace(
        PLAIN,
        command=("./steps.sh",),
        torchrun=False,
        own_steps=True,
        settings=LaunchSettings(stop_signal=StopSignal.URG),
    ),
    "venv": replace(
        PLAIN,
        settings=LaunchSettings(venv=Path("/home/me/my venv"), launcher=Launcher.TORCHRUN),
    ),
    "apptainer": replace(
        PLAIN,
        settings=LaunchSettings(
            container_runtime=ContainerRuntime.APPTAINER,
            container_image="/images/my torch.sif",
            container_mounts=("/data", "/scratch:/tmp:ro"),
            environment={"NOTE": "it's"},
        ),
    ),
    "pyxis": replace(
        PLAIN,
        settings=LaunchSettings(
            container_runtime=ContainerRuntime.PYXIS,
            container_image="nvcr.io#nvidia/pytorch:25.01",
            container_mounts=("/data", "/scratch:/tmp:ro"),
            environment={"NOTE": "it's"},
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    script = render(CASES[name])
    for program in (fork_server_program(), (templates_dir() / "torchrun.py").read_text()):
        script = script.replace(shlex.quote(program), "'… (a program in Python)'")
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


@settings(deadline=None)
@given(st.dictionaries(st.from_regex(r"V[A-Z]{0,4}_X", fullmatch=True), texts))
def test_every_variable_arrives_untouched(variables: dict[str, str]) -> None:
    """bash itself says what it made of the exports."""
    script = render(replace(PLAIN, settings=LaunchSettings(environment=variables)))
    begin = script.index("\nset +e -u\n\n# Variables of the command")
    exports = script[begin : script.index("\nef_program=")]
    shown = subprocess.run(
        ["bash", "-c", exports + "\nexec env -0"], env={}, capture_output=True, check=True
    ).stdout.decode()
    found = dict(line.split("=", 1) for line in shown.split("\0") if "=" in line)
    assert {name: found.get(f"EF_SET_{name}") for name in variables} == variables


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"command": ()}, "command: () is not valid: name something to run"),
        ({"command": ("a\x00b",)}, "command: 'a\\x00b' is not valid: text without control"),
        ({"command": ("\udcff",)}, "command: '\\udcff' is not valid: text in UTF-8"),
        ({"state_dir": "here"}, "state_dir: 'here' is not valid: an absolute path"),
        ({"state_dir": "/a\nb"}, "state_dir: '/a\\nb' is not valid: text without control"),
        ({"iterations": 0}, "iterations: 0 is not valid: 1 or more"),
        ({"cpus_per_gpu": 0}, "cpus_per_gpu: 0 is not valid: 1 or more"),
        ({"job_name": "a\nb"}, "job_name: 'a\\nb' is not valid: text without control"),
        ({"sbatch_options": ("--comment=a\nscancel",)}, "sbatch_options: '--comment=a\\nscancel'"),
        ({"sbatch_options": ("partition",)}, "sbatch_options: 'partition' is not valid: it does"),
    ],
)
def test_bad_requests_name_field_and_value(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError) as error:
        replace(PLAIN, **changes)  # type: ignore[arg-type]
    assert str(error.value).startswith(message)


def test_a_state_directory_that_no_container_could_mount() -> None:
    inside = CASES["apptainer"].settings
    with pytest.raises(ModelError, match="state_dir: '/a:b' is not valid: it is mounted into"):
        replace(PLAIN, state_dir="/a:b", settings=inside)
    assert replace(PLAIN, state_dir="/a:b").state_dir == "/a:b"


def test_the_defaults_are_the_contracts() -> None:
    settings = LaunchSettings()
    assert settings.checkpoint_interval == DEFAULT_CHECKPOINT_SECONDS
    assert settings.keep_checkpoints == DEFAULT_KEEP_CHECKPOINTS
    assert settings.stop_signal.value == DEFAULT_STOP_SIGNAL


def with_template(tmp_path: Path, text: str, **other: Any) -> LaunchRequest:
    path = tmp_path / "site.j2"
    path.write_text(text)
    return replace(PLAIN, settings=LaunchSettings(template=path, **other))


def test_a_site_overrides_blocks(tmp_path: Path) -> None:
    (tmp_path / "banner").write_text("echo {{ job_name or 'job' }}\n")
    request = with_template(
        tmp_path,
        '{% extends "default/torchrun.sbatch.j2" %}\n'
        "{% block network %}\nexport NCCL_SOCKET_IFNAME=ib0\n{% endblock %}\n"
        "{% block modules %}\n{{ super() }}\nsource {{ state_dir }}/env\n{% endblock %}\n"
        '{% block epilogue %}\n{% include "banner" %}{% endblock %}\n',
        modules=("gcc",),
    )
    script = render(replace(request, state_dir="/a b"))
    assert "\nexport NCCL_SOCKET_IFNAME=ib0\n" in script
    assert "cannot be loaded\"\n\nsource '/a b'/env\n" in script
    assert "ef_epilogue() {\n    :\necho job\n" in script


def test_a_site_replaces_the_template(tmp_path: Path) -> None:
    assert render(with_template(tmp_path, "{{ iterations }} {{ command[0] }}")) == "1000 train.py"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ colour }}", "site.j2: 'colour' is undefined"),
        ("a\n{% if %}", "site.j2:2: "),
        ('{% include "none" %}', "site.j2: there is no template 'none'"),
    ],
)
def test_wrong_templates_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TemplateProblemError) as error:
        render(with_template(tmp_path, text))
    assert f"{tmp_path}/{message}" in str(error.value)


@pytest.mark.parametrize(
    "words",
    ["--gpus-per-node=1", "--gres gpu:1", "-G1", "--gpus-per-n=1", "--mem=1 --tres-per-task=x"],
)
def test_a_template_that_asks_for_gpus_twice_is_refused(tmp_path: Path, words: str) -> None:
    """26.05 refuses such a script, and before it one of the two would stay as it is."""
    extends = '{% extends "default/torchrun.sbatch.j2" %}{% block site_directives %}\n'
    request = with_template(tmp_path, f"{extends}#SBATCH {words}\n{{% endblock %}}")
    with pytest.raises(TemplateProblemError, match="asked for by --gres=gpu:1 alone"):
        render(request)
    harmless = "#SBATCH --gres-flags=x --gpu-bind=none --mem=1\n# SBATCH --gpus=1\n"
    text = f"{extends}{harmless}true\n#SBATCH --gpus=1\n{{% endblock %}}"
    assert harmless in render(with_template(tmp_path, text))


def test_a_template_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    settings = LaunchSettings(template=tmp_path / "gone")
    with pytest.raises(TemplateProblemError, match="gone: there is no such template"):
        render(replace(PLAIN, settings=settings))
    (tmp_path / "gone").write_bytes(b"\xff")
    with pytest.raises(TemplateProblemError, match="gone: "):
        render(replace(PLAIN, settings=settings))


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


def test_a_template_in_the_sites_directory_counts_before_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    own = tmp_path / "templates" / "torchrun.sbatch.j2"
    own.write_text(
        '{% extends "default/torchrun.sbatch.j2" %}\n'
        "{% block network %}\nexport A=1\n{% endblock %}\n"
    )
    assert "\nexport A=1\n" in render(PLAIN, site=tmp_path)
    assert "\nexport A=1\n" not in render(PLAIN, site=tmp_path / "none")
    own.write_text("{% block")
    with pytest.raises(TemplateProblemError, match=f"{own}:1: "):
        render(PLAIN, site=tmp_path)

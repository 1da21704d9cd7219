"""docs/templates.md: complete, and its example works."""

import re
import subprocess
from dataclasses import fields, replace
from pathlib import Path

from ef_slurm.cli.sbatch.launch_options import LAUNCH_OPTIONS
from ef_slurm.launch import LaunchRequest, render
from ef_slurm.launch.render import context
from ef_slurm.model import LaunchSettings
from ef_slurm.resources import templates_dir
from tests.unit.test_docs import TOP, table_keys

DOCUMENT = TOP / "docs" / "templates.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
REQUEST = LaunchRequest(("train it.py",), "/shared/my job", "/shared/orders/7/order.json", 10, 4)


def test_every_setting_is_there_with_its_option() -> None:
    part = TEXT.partition("## Settings\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (?:`--([\w-]+)=.*?`|\W) \|", part, re.M)
    options = {option.field: name for name, option in LAUNCH_OPTIONS.items()}
    assert dict(rows) == {f.name: options.get(f.name, "") for f in fields(LaunchSettings)}


def test_every_block_is_there() -> None:
    template = (templates_dir() / "torchrun.sbatch.j2").read_text(encoding="utf-8")
    blocks = re.findall(r"{% block (\w+) %}", template)
    part = TEXT.partition("### Blocks\n")[2].partition("\n### ")[0]
    assert re.findall(r"^\| `(\w+)` \|", part, re.M) == blocks


def test_every_variable_is_there() -> None:
    assert table_keys(DOCUMENT, "Variables") == context(REQUEST).keys()


def test_the_example_makes_a_script(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```jinja\n(.*?)^```$", TEXT, re.M | re.S)
    template = tmp_path / "site.sbatch.j2"
    template.write_text(example, encoding="utf-8")
    script = render(replace(REQUEST, settings=LaunchSettings(template=template)))
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert "\n#SBATCH --licenses=scratch:1\n" in script
    assert script.index("\nexport NCCL_SOCKET_IFNAME=ib0\n") < script.index("\nef_program=")
    assert "    echo \"trains\" 'train it.py' \"in\" '/shared/my job'\n}" in script
    assert 'ef_epilogue() {\n    :\n    rm -rf "$TMPDIR"\n}' in script

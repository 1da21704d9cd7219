"""An installed wheel, not only a checkout, finds the data directories."""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from ef_slurm import resources

CHECKOUT = Path(__file__).parents[2]
PROBE = """
from pathlib import Path
import ef_slurm
from ef_slurm import resources
package = Path(ef_slurm.__file__).parent
for directory in (resources.templates_dir(), resources.site_config_dir()):
    assert directory.is_relative_to(package), directory
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            print(directory.name, path.relative_to(directory).as_posix())
"""


def files(directory: Path) -> set[str]:
    return {
        f"{directory.name} {path.relative_to(directory).as_posix()}"
        for path in directory.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_a_checkout_finds_its_data() -> None:
    assert resources.templates_dir() == CHECKOUT / "templates"
    assert resources.site_config_dir() == CHECKOUT / "site-config"


def test_an_incomplete_installation_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "ef_slurm")
    with pytest.raises(FileNotFoundError, match=r"templates/ is neither at .* reinstall ef-slurm"):
        resources.templates_dir()


def test_an_installed_wheel_finds_its_data(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns(".*", "docker", "tests", "__pycache__")
    shutil.copytree(CHECKOUT, source, ignore=ignore)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run([*build, str(source)], check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")

    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*install, "-q", "--target", str(site), str(wheel)], check=True, timeout=300)
    probe = subprocess.run(
        [str(python), "-c", PROBE],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(site)},
        timeout=60,
    )
    found = set(probe.stdout.splitlines())
    assert found == files(CHECKOUT / "templates") | files(CHECKOUT / "site-config")
    assert found

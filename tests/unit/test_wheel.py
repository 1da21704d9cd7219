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


def test_the_sites_file_counts_before_the_shipped_one(tmp_path: Path) -> None:
    unit = "site-config/systemd/ef-schedd.service"
    template = "templates/torchrun.sbatch.j2"
    assert resources.find(unit, site=tmp_path) == CHECKOUT / unit
    assert resources.find(template, site=tmp_path) == CHECKOUT / template

    for own in ("systemd/ef-schedd.service", "templates/torchrun.sbatch.j2"):
        (tmp_path / own).parent.mkdir()
        (tmp_path / own).write_text("ours")
    assert resources.find(unit, site=tmp_path) == tmp_path / "systemd/ef-schedd.service"
    assert resources.find(template, site=tmp_path) == tmp_path / "templates/torchrun.sbatch.j2"


def test_the_installed_file_counts_before_that_of_a_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "ef_slurm")
    found = []
    for directory in (tmp_path, tmp_path / "ef_slurm" / "_share"):
        (directory / "templates").mkdir(parents=True)
        (directory / "templates" / "a.j2").write_text("")
        found.append(resources.find("templates/a.j2", site=tmp_path / "none"))
    assert found == [
        tmp_path / "templates/a.j2",
        tmp_path / "ef_slurm" / "_share" / "templates/a.j2",
    ]


def test_a_file_that_is_nowhere_is_named_with_the_places(tmp_path: Path) -> None:
    site = tmp_path / "site"
    with pytest.raises(FileNotFoundError, match=f"x is neither at {site}/templates/x nor "):
        resources.find("templates/x", site=site)


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

"""A step is done whole or not at all, and what it replaces is kept."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ef_slurm.installation.apply import apply
from ef_slurm.installation.steps import (
    InstallationError,
    MakeDirectory,
    RunCommand,
    WriteFile,
    text_of,
)
from ef_slurm.siteconfig.accounts import Account

ME = Account.own().name


def test_a_new_file_is_made_with_its_directories(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    before = os.umask(0o077)
    try:
        assert apply(WriteFile(path, None, "text\n", "why")) == ""
    finally:
        os.umask(before)
    assert path.read_text() == "text\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o755


def test_what_is_replaced_is_kept_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old\n")
    path.chmod(0o640)
    kept = apply(WriteFile(path, "old\n", "new\n", "why"), lambda: 0.0)
    assert kept == str(tmp_path / "file.before-ef-slurm-19700101-000000")
    assert Path(kept).read_text() == "old\n"
    assert [p.stat().st_mode & 0o777 for p in (path, Path(kept))] == [0o640, 0o640]
    assert path.read_text() == "new\n"
    assert len(list(tmp_path.iterdir())) == 2


def test_what_is_no_utf_8_stays_as_it_is(tmp_path: Path) -> None:
    """Comments of a slurm.conf that is older than UTF-8."""
    path = tmp_path / "slurm.conf"
    path.write_bytes(b"# Rechner f\xfcr alle\nA=1\n")
    before = text_of(path)
    kept = apply(WriteFile(path, before, before + "B=2\n", "why"))
    assert path.read_bytes() == b"# Rechner f\xfcr alle\nA=1\nB=2\n"
    assert Path(kept).read_bytes() == b"# Rechner f\xfcr alle\nA=1\n"


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old\n")
    (tmp_path / "link").symlink_to("real")
    apply(WriteFile(tmp_path / "link", "old\n", "new\n", "why"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new\n"


@pytest.mark.parametrize("before", [None, "other\n"])
def test_what_somebody_changed_meanwhile_is_not_overwritten(
    tmp_path: Path, before: str | None
) -> None:
    path = tmp_path / "file"
    path.write_text("theirs\n")
    with pytest.raises(InstallationError, match="changed meanwhile"):
        apply(WriteFile(path, before, "ours\n", "why"))
    assert path.read_text() == "theirs\n"
    path.unlink()
    if before is not None:
        with pytest.raises(InstallationError, match="is gone"):
            apply(WriteFile(path, before, "ours\n", "why"))
        assert not path.exists()


def test_a_directory_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "jobs").symlink_to("elsewhere")
    with pytest.raises(InstallationError, match="jobs"):
        apply(MakeDirectory(tmp_path / "jobs", ME, ME, 0o3777, "why"))
    assert (tmp_path / "elsewhere").stat().st_mode & 0o7777 == 0o700


def test_an_unknown_owner_is_named(tmp_path: Path) -> None:
    with pytest.raises(InstallationError, match="no-such-user"):
        apply(MakeDirectory(tmp_path / "jobs", "no-such-user", ME, 0o755, "why"))


def test_commands_fail_in_words() -> None:
    apply(RunCommand(("true",), "why"))
    with pytest.raises(InstallationError, match="false: ended with 1"):
        apply(RunCommand(("false",), "why"))
    with pytest.raises(InstallationError, match="run it yourself: no-such-command x"):
        apply(RunCommand(("no-such-command", "x"), "why"))


WRITER = """
import sys
from pathlib import Path
from ef_slurm.installation.apply import apply
from ef_slurm.installation.steps import WriteFile
path = Path(sys.argv[1])
texts = ["a" * 200_000, "b" * 200_000]
print("ready", flush=True)
while True:
    for at in (0, 1):
        apply(WriteFile(path, texts[at], texts[1 - at], "why"), lambda: 0.0)
"""


def test_a_kill_leaves_one_text_or_the_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("a" * 200_000)
    for tries in range(8):
        text = path.read_text()
        script = WRITER if text[0] == "a" else WRITER.replace("(0, 1)", "(1, 0)")
        with subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.003 * tries)
            process.send_signal(signal.SIGKILL)
        assert path.read_text() in ("a" * 200_000, "b" * 200_000)

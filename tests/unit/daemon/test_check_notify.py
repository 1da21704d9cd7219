"""`ef-schedd check` on how owners are told."""

from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.daemon import check_notify as looks
from ef_slurm.daemon.check_notify import check_notify
from ef_slurm.daemon.findings import Level
from ef_slurm.siteconfig import SiteConfig, SiteConfigError
from ef_slurm.siteconfig.accounts import Account
from ef_slurm.siteconfig.reader import parse
from ef_slurm.siteconfig.tables import DaemonTable, NotifyBy, NotifyTable, Serves

USER = Account("ann", 1000, frozenset())


def finding(notify: NotifyTable, settings: dict[str, str] | None = None) -> tuple[Level, str]:
    config = replace(SiteConfig(), notify=notify)
    found = check_notify(config, {} if settings is None else settings, USER)
    return found.level, found.text


def program(tmp_path: Path, mode: int = 0o755) -> str:
    path = tmp_path / "program"
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return str(path)


def test_by_mail(tmp_path: Path) -> None:
    found, told = finding(NotifyTable(), {"MailProg": program(tmp_path)})
    assert (found, "by mail" in told) == (Level.OK, True)
    found, told = finding(NotifyTable(), {"MailProg": str(tmp_path / "none")})
    assert found is Level.WARNING
    assert "no mail is sent" in told
    assert 'by = "nobody"' in told
    assert check_notify(SiteConfig(), None, USER).level is Level.WARNING


@pytest.mark.parametrize("which", ["program", "postdrop"])
def test_by_a_mail_program_that_the_units_limits_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    other = tmp_path / "postdrop"
    other.touch()
    monkeypatch.setattr(looks, "_TAKES_MAIL", (other, tmp_path / "none"))
    settings = {"MailProg": program(tmp_path)}
    service = replace(SiteConfig(), daemon=DaemonTable(serves=Serves.EVERYONE))
    assert check_notify(service, settings, USER).level is Level.OK
    (tmp_path / which).chmod(0o2755)
    found = check_notify(service, settings, USER)
    assert found.level is Level.WARNING
    assert f"{tmp_path / which} is setuid or setgid" in found.text
    assert check_notify(SiteConfig(), settings, USER).level is Level.OK  # no unit of ours


def test_by_a_command(tmp_path: Path) -> None:
    notify = NotifyTable(NotifyBy.COMMAND, (program(tmp_path), "-v"))
    assert finding(notify)[0] is Level.OK
    program(tmp_path, 0o777)
    found, told = finding(notify)
    assert found is Level.ERROR
    assert "chmod go-w" in told
    program(tmp_path, 0o644)
    assert finding(notify)[0] is Level.ERROR


def test_by_a_web_hook(tmp_path: Path) -> None:
    file = tmp_path / "webhook"
    notify = NotifyTable(NotifyBy.WEBHOOK, webhook=file)
    assert finding(notify)[0] is Level.ERROR
    file.write_text("https://example.org/token-1\n")
    file.chmod(0o644)
    found, told = finding(notify)
    assert found is Level.WARNING
    assert "chmod 0600" in told
    file.chmod(0o600)
    assert finding(notify)[0] is Level.OK
    assert "token-1" not in finding(notify)[1]
    file.write_text("example.org\n")
    assert finding(notify)[0] is Level.ERROR
    assert finding(NotifyTable(NotifyBy.NOBODY))[0] is Level.OK


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('by = "command"', "notify.command"),
        ('by = "command"\ncommand = ["ef-notify"]', "notify.command"),
        ('by = "webhook"', "notify.webhook"),
        ('by = "pigeon"', "notify.by"),
        ("timeout = 0.0", "notify.timeout"),
    ],
)
def test_what_cannot_be_configured(text: str, key: str) -> None:
    with pytest.raises(SiteConfigError, match=key):
        parse(f"[notify]\n{text}\n", Path("/etc/ef-slurm/ef-slurm.toml"))

"""`ef-schedd check`: can owners be told what `--mail-type` asks for?"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from ef_slurm.daemon.act.channels import DeliveryError, mail_program, web_address
from ef_slurm.daemon.findings import Finding, Level
from ef_slurm.siteconfig.accounts import Account
from ef_slurm.siteconfig.tables import NotifyBy, NotifyTable, Serves, SiteConfig

_SUBJECT = "notify"
_OTHERWISE = 'or write by = "command" or by = "nobody" under [notify]'
_TAKES_MAIL = (Path("/usr/sbin/sendmail"), Path("/usr/sbin/postdrop"))
"""What takes a mail from programs that send none by SMTP; Postfix's first runs the second."""


def check_notify(config: SiteConfig, settings: Mapping[str, str] | None, user: Account) -> Finding:
    """Whether the way that the site has chosen can be gone.

    Args:
        settings: slurm.conf's; None where Slurm does not answer.
        user: who runs the check.
    """
    notify = config.notify
    match notify.by:
        case NotifyBy.NOBODY:
            return Finding(Level.OK, _SUBJECT, "nobody is told anything (--mail-type)")
        case NotifyBy.COMMAND:
            return _command(notify)
        case NotifyBy.WEBHOOK:
            return _webhook(notify, user.name == config.daemon.user)
        case _:
            return _mail(settings, config.daemon.serves is Serves.EVERYONE)


def _mail(settings: Mapping[str, str] | None, service: bool) -> Finding:
    if settings is None:
        return Finding(Level.WARNING, _SUBJECT, "Slurm does not say what its MailProg is")
    program, _ = mail_program(settings)
    if _is_program(Path(program)):
        how = f"by mail, with {program} (slurm.conf's MailProg)"
        raised = [one for one in (Path(program), *_TAKES_MAIL) if _raises_rights(one)]
        if service and raised:
            return Finding(
                Level.WARNING,
                _SUBJECT,
                f"{how}; but {raised[0]} is setuid or setgid, and under the unit's "
                "NoNewPrivileges=yes it gets no rights by that: where mail does not arrive use an "
                f"SMTP client, {_OTHERWISE}",
            )
        return Finding(Level.OK, _SUBJECT, how)
    return Finding(
        Level.WARNING,
        _SUBJECT,
        f"no mail is sent (--mail-type): {program}, slurm.conf's MailProg, is no program on this "
        f"host: install one, {_OTHERWISE}",
    )


def _command(notify: NotifyTable) -> Finding:
    program = Path(notify.command[0])
    if not _is_program(program):
        return Finding(
            Level.ERROR,
            _SUBJECT,
            f"nobody is told anything: {program} ([notify] command) is no program on this host",
        )
    mode = program.stat().st_mode
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return Finding(
            Level.ERROR,
            _SUBJECT,
            f"{program} ([notify] command) runs as the daemon's user, and others may write it: "
            f"chmod go-w {program}",
        )
    return Finding(Level.OK, _SUBJECT, f"by the command {program}")


def _webhook(notify: NotifyTable, is_daemon: bool) -> Finding:
    file = notify.webhook
    assert file is not None  # the reader sees to that
    try:
        if file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            return Finding(
                Level.WARNING,
                _SUBJECT,
                f"others may read {file} ([notify] webhook), and whoever knows the address can "
                f"write there: chmod 0600 {file}",
            )
        web_address(file)
    except OSError as error:
        return Finding(Level.ERROR, _SUBJECT, f"nobody is told anything: {file}: {error.strerror}")
    except DeliveryError as error:
        if not is_daemon and not os.access(file, os.R_OK):
            return Finding(Level.OK, _SUBJECT, f"by the web hook of {file}, which is not yours")
        return Finding(Level.ERROR, _SUBJECT, f"nobody is told anything: {error}")
    return Finding(Level.OK, _SUBJECT, f"by the web hook of {file}")


def _raises_rights(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID))
    except OSError:
        return False


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)

"""Lines of slurm.conf and job_submit.lua, as text."""

from __future__ import annotations

import re

PLUGIN_MARK = "ef-slurm: job_submit.lua loaded"
"""In our job_submit.lua, and in nobody else's."""
CALLED_PLUGIN = "ef-slurm.lua"
"""The copy of ours beside a site's own job_submit.lua, which calls it."""

_PARTITIONS = re.compile(r"^local PARTITIONS = \{([^}]*)\}", re.M)
_OPERATORS = re.compile(r"^local OPERATORS = \{([^}]*)\}", re.M)
_REVISION = re.compile(r"^local REVISION = (\d{1,9})\b", re.M | re.A)
_SERVICE_USER = re.compile(r'^local SERVICE_USER = "(.*)"$', re.M)


def value_of(text: str, key: str) -> str | None:
    """What slurm.conf gives a key (keys are read without regard to case); None where it does not.

    >>> value_of("# JobSubmitPlugins=x\\njobsubmitplugins = lua # ours", "JobSubmitPlugins")
    'lua'
    """
    found = _line(key).search(text)
    return None if found is None else found[2].strip()


def has_partition(text: str, name: str) -> bool:
    """Whether slurm.conf defines a partition."""
    return (
        re.search(rf"^[ \t]*PartitionName[ \t]*=[ \t]*{re.escape(name)}(?:\s|$)", text, re.M | re.I)
        is not None
    )


def with_value(text: str, key: str, value: str) -> str | None:
    """The text with a value added to a comma-separated list.

    Returns:
        None where the line goes on in the next one: only a person can change that.

    >>> with_value("A=1\\nJobSubmitPlugins=x  # old\\n", "JobSubmitPlugins", "lua")
    'A=1\\nJobSubmitPlugins=x,lua  # old\\n'
    >>> with_value("A=1\\n", "JobSubmitPlugins", "lua")
    'A=1\\nJobSubmitPlugins=lua\\n'
    """
    found = _line(key).search(text)
    if found is None:
        return with_line(text, f"{key}={value}")
    if "\\" in found[0]:
        return None
    before, listed, rest = found[1], found[2].strip(), found[3] or ""
    names = [name for name in listed.split(",") if name and name != "(null)"]
    new = f"{before}{','.join((*names, value))}{rest}"
    return text[: found.start()] + new + text[found.end() :]


def with_line(text: str, line: str) -> str:
    """The text with a line at its end."""
    return text + ("" if text.endswith("\n") or not text else "\n") + line + "\n"


def _line(key: str) -> re.Pattern[str]:
    return re.compile(rf"^([ \t]*{key}[ \t]*=[ \t]*)([^\s#]*)([ \t]*#.*|.*\\)?$", re.M | re.I)


def plugin_for(shipped: str, partition: str, user: str) -> str:
    """Our job_submit.lua with the site's names."""
    text = _PARTITIONS.sub(lambda _: f'local PARTITIONS = {{ ["{partition}"] = true }}', shipped)
    return _SERVICE_USER.sub(lambda _: f'local SERVICE_USER = "{user}"', text)


def plugin_with(text: str, partition: str, user: str) -> str:
    """A job_submit.lua of ours, that is there already, guarding one more partition."""
    found = _PARTITIONS.search(text)
    inside = "" if found is None else found[1].strip()
    if not re.search(
        rf'(?<![\w-])(?:{re.escape(partition)}|\["{re.escape(partition)}"\])\s*=', inside
    ):
        others = re.sub(r"--[^\n]*", "", inside).strip().rstrip(",")
        new = f'["{partition}"] = true'
        names = f"{others}, {new}" if others else new
        text = _PARTITIONS.sub(lambda _: f"local PARTITIONS = {{ {names} }}", text)
    return _SERVICE_USER.sub(lambda _: f'local SERVICE_USER = "{user}"', text)


def renewed(shipped: str, text: str, partition: str, user: str) -> str | None:
    """The plugin of this release, in place of one of ours that is there already.

    Its partitions and operators stay; one that is as new stays as it is, but for this partition.

    Returns:
        None where they cannot be read: only a person can take them over.
    """
    if _revision(text) >= _revision(shipped):
        return plugin_with(text, partition, user)
    for names in (_PARTITIONS, _OPERATORS):
        found, place = names.search(text), names.search(shipped)
        if found is None or place is None:
            return None
        shipped = shipped[: place.start()] + found[0] + shipped[place.end() :]
    return plugin_with(shipped, partition, user)


def _revision(text: str) -> int:
    found = _REVISION.search(text)  # the first release's has none
    return 1 if found is None else int(found[1])


def calling(path: str) -> tuple[str, ...]:
    """Lines with which a site's own job_submit.lua asks ours first."""
    return (
        "local site_submit, site_modify = slurm_job_submit, slurm_job_modify",
        f'dofile("{path}")',
        "local ef_submit, ef_modify = slurm_job_submit, slurm_job_modify",
        "function slurm_job_submit(...)",
        "    local code = ef_submit(...)",
        "    return code ~= slurm.SUCCESS and code or site_submit(...)",
        "end",
        "function slurm_job_modify(...)",
        "    local code = ef_modify(...)",
        "    return code ~= slurm.SUCCESS and code or site_modify(...)",
        "end",
    )

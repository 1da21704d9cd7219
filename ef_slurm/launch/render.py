"""Request and template -> batch script, a pure function.

Templates never see a raw value: every text is quoted for the shell before it reaches them, so that
no template, ours or a site's, can forget to.
"""

import enum
import shlex
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import jinja2

from ef_slurm.contract import (
    COMPANION_COMMENT,
    FIRST_PORT,
    MAX_FAILURES,
    PORTS,
    VERSION,
    Exit,
)
from ef_slurm.launch.program import fork_server_program
from ef_slurm.launch.request import LaunchRequest
from ef_slurm.model import Launcher, LaunchSettings
from ef_slurm.resources import SITE, find, template_dirs, templates_dir

TEMPLATE = "torchrun.sbatch.j2"
"""The shipped template; a site's own extends `default/` followed by this name."""


GPU_DIRECTIVE = "--gres=gpu:1"
"""By what the shipped template asks for GPUs."""

_GPU_OPTIONS = (
    *("gres", "gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket"),
    *("ntasks-per-gpu", "tres-per-task"),
)


class TemplateProblemError(ValueError):
    """A template that no batch script can be made of; the text names file and line."""


def render(request: LaunchRequest, site: Path = SITE) -> str:
    """The batch script.

    Args:
        request: what is to be launched, with the site's template if it names one. Files beside that
            template can be included by their names.
        site: the site's directory; a template in its `templates/` counts before the shipped one.

    Raises:
        TemplateProblemError: the template does not exist, is wrong, or uses a name that there is
            not.
    """
    template = request.settings.template
    places = template_dirs(site) if template is None else (template.parent, *template_dirs(site))
    loaders: list[jinja2.BaseLoader] = [
        jinja2.FileSystemLoader(places),
        jinja2.PrefixLoader({"default": jinja2.FileSystemLoader(templates_dir())}),
    ]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        undefined=jinja2.StrictUndefined,
        comment_start_string="{##",  # {# is the length of something in the shell
        comment_end_string="##}",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - shell, not HTML; see _quoted
    )
    name = TEMPLATE if template is None else template.name
    where = str(template or find(f"templates/{name}", site))
    try:
        if template is not None and not template.is_file():
            raise TemplateProblemError(f"{template}: there is no such template")
        script = environment.get_template(name).render(context(request, site))
    except jinja2.TemplateSyntaxError as error:
        raise TemplateProblemError(
            f"{error.filename or where}:{error.lineno}: {error.message}"
        ) from None
    except jinja2.TemplateNotFound as error:
        raise TemplateProblemError(f"{where}: there is no template {error.name!r}") from None
    except jinja2.TemplateError as error:
        raise TemplateProblemError(f"{where}: {error.message}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateProblemError(f"{where}: {error}") from None
    _check_gpu_options(script, where)
    return script


def _check_gpu_options(script: str, where: str) -> None:
    """Refuse a site's template that asks for GPUs in a second way.

    The daemon changes the one that the shipped template asks by; sbatch of Slurm 26.05 takes no
    script that has two.

    Raises:
        TemplateProblemError: names the directive.
    """
    for number, line in enumerate(script.splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            return
        if not line.startswith("#SBATCH"):
            continue
        for word in shlex.split(line.removeprefix("#SBATCH"), comments=True):
            if _asks_for_gpus(word) and word != GPU_DIRECTIVE:
                raise TemplateProblemError(
                    f"{where}: line {number} of its script has {word}: GPUs are asked for by "
                    f"{GPU_DIRECTIVE} alone, which ef-slurm changes as the plan wants"
                )


def _asks_for_gpus(word: str) -> bool:
    """Whether a word is an option of sbatch that says how many GPUs; its name may be cut short."""
    if word.startswith("-G"):
        return True
    name = word.removeprefix("--").partition("=")[0]
    return word.startswith("--") and any(long.startswith(name) for long in _GPU_OPTIONS if name)


def context(request: LaunchRequest, site: Path = SITE) -> dict[str, Any]:
    """The template's variables: every field of request and settings, and the contract's numbers."""
    values = {
        f.name: _quoted(getattr(request, f.name)) for f in fields(request) if f.name != "settings"
    }
    for f in fields(LaunchSettings):
        value = getattr(request.settings, f.name)
        values[f.name] = None if value == "" else _quoted(value)
    del values["template"]
    # Not every release of pyxis takes a source without a target.
    values["container_mounts"] = tuple(
        _quoted(mount if ":" in mount else f"{mount}:{mount}")
        for mount in request.settings.container_mounts
    )
    if not request.settings.container_image:
        values["container_runtime"] = None
    prepares_next = request.torchrun and request.settings.launcher is Launcher.FORKSERVER
    values.update(
        fork_server_program=_quoted(fork_server_program(site)),
        torchrun_program=_quoted(find("templates/torchrun.py", site).read_text(encoding="utf-8")),
        companion_comment=COMPANION_COMMENT.format(
            job_id="$EF_JOB_ID", generation="$EF_GENERATION", change="$change"
        ),
        companion_begin=COMPANION_COMMENT.partition(",")[0].format(job_id="$EF_JOB_ID") + ",",
        prepares_next=prepares_next,
        hands_over=prepares_next and not request.own_steps,
        version=VERSION,
        first_port=FIRST_PORT,
        ports=PORTS,
        max_failures=MAX_FAILURES,
        exit_not_saved=int(Exit.NOT_SAVED),
        exit_stopped=int(Exit.STOPPED),
        exit_unusable=int(Exit.UNUSABLE),
    )
    return values


def _quoted(value: Any) -> Any:
    """Texts quoted for the shell, inside of whatever holds them; numbers and None as they are."""
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, str | Path):
        return shlex.quote(str(value))
    if isinstance(value, tuple):
        return tuple(_quoted(item) for item in value)
    if isinstance(value, Mapping):
        return {name: _quoted(item) for name, item in value.items()}
    return value

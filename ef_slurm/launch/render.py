"""Request and templates -> batch script, a pure function.

Templates never see a raw value: every text is quoted for the shell before it reaches them, so that
no template, ours or a site's, can forget to.
"""

import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import jinja2

from ef_slurm.contract import FIRST_PORT, MAX_FAILURES, PORTS, VERSION, Exit
from ef_slurm.launch.request import Container, LaunchError, LaunchRequest
from ef_slurm.resources import templates_dir

TEMPLATE = "torchrun.sbatch.j2"


def render(
    request: LaunchRequest, template: str = TEMPLATE, site_templates: Sequence[Path] = ()
) -> str:
    """The batch script.

    Args:
        request: what is to be launched.
        template: name of a template in ``site_templates`` or among our own.
        site_templates: a site's own template directories, first come first. A site's template
            overrides blocks of ours with ``{% extends "default/torchrun.sbatch.j2" %}``.

    Raises:
        LaunchError: the template does not exist, is wrong, or uses a name that there is not.
    """
    ours = jinja2.FileSystemLoader(templates_dir())
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [
                *(jinja2.FileSystemLoader(directory) for directory in site_templates),
                ours,
                jinja2.PrefixLoader({"default": ours}),
            ]
        ),
        undefined=jinja2.StrictUndefined,
        comment_start_string="{##",  # {# is the length of something in the shell
        comment_end_string="##}",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # shell, not HTML; see _quoted
    )
    try:
        return environment.get_template(template).render(_context(request))
    except jinja2.TemplateSyntaxError as error:
        raise LaunchError(f"{error.filename or template}:{error.lineno}: {error.message}") from None
    except jinja2.TemplateNotFound as error:
        raise LaunchError(f"no template {error.name!r}") from None
    except jinja2.TemplateError as error:
        raise LaunchError(f"template {template!r}: {error.message}") from None


def _context(request: LaunchRequest) -> dict[str, Any]:
    context = {field.name: _quoted(getattr(request, field.name)) for field in fields(request)}
    container = request.container
    context["container_kind"] = None if container is None else container.kind.value
    context.update(
        torchrun_program=_quoted(_torchrun_program()),
        version=VERSION,
        first_port=FIRST_PORT,
        ports=PORTS,
        max_failures=MAX_FAILURES,
        exit_not_saved=int(Exit.NOT_SAVED),
        exit_stopped=int(Exit.STOPPED),
        exit_unusable=int(Exit.UNUSABLE),
    )
    return context


def _torchrun_program() -> str:
    return (templates_dir() / "torchrun.py").read_text(encoding="utf-8")


def _quoted(value: Any) -> Any:
    """Texts quoted for the shell, inside of whatever holds them; numbers and None as they are."""
    if isinstance(value, str):
        return shlex.quote(value)
    if isinstance(value, tuple):
        return tuple(_quoted(item) for item in value)
    if isinstance(value, Container):
        return {"image": _quoted(value.image), "mounts": _quoted(value.mounts)}
    return value

"""Where data files are: batch-script templates, example policy, what Slurm and systemd read.

One rule (docs/templates.md): the site's own file counts, else the installed one, else that of the
checkout. An installed wheel carries them inside the package, under `ef_slurm/_share`; in a checkout
(and an editable install) they stand beside the package, at the top of the tree.
"""

from pathlib import Path

SITE = Path("/etc/ef-slurm")
"""The site's directory: it stands for `site-config/`, and `templates/` lies in it."""

_PACKAGE = Path(__file__).resolve().parent


def find(name: str, site: Path = SITE) -> Path:
    """The data file that counts.

    Args:
        name: its path in a checkout: `templates/torchrun.sbatch.j2`,
            `site-config/systemd/ef-schedd.service`.
        site: the site's directory.

    Raises:
        FileNotFoundError: there is none.
    """
    directory, _, rest = name.partition("/")
    candidates = [place / rest for place in (_site_dir(directory, site), *_shipped(directory))]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise _missing(name, candidates)


def template_dirs(site: Path = SITE) -> tuple[Path, ...]:
    """Directories in which a template is looked for by its name, in order.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    return _site_dir("templates", site), templates_dir()


def templates_dir() -> Path:
    """Directory of the shipped jinja2 batch-script templates.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    return _shipped_dir("templates")


def site_config_dir() -> Path:
    """Directory of the shipped example policy and of the shipped files for Slurm and systemd.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    return _shipped_dir("site-config")


def _site_dir(directory: str, site: Path) -> Path:
    return site if directory == "site-config" else site / directory


def _shipped(directory: str) -> tuple[Path, Path]:
    return _PACKAGE / "_share" / directory, _PACKAGE.parent / directory


def _shipped_dir(directory: str) -> Path:
    candidates = _shipped(directory)
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise _missing(f"{directory}/", candidates)


def _missing(name: str, candidates: tuple[Path, ...] | list[Path]) -> FileNotFoundError:
    looked = " nor ".join(str(candidate) for candidate in candidates)
    return FileNotFoundError(f"{name} is neither at {looked}: reinstall ef-slurm")

"""Where the package's data directories are: batch-script templates and example site policy.

In a checkout (and an editable install) they stand beside the package, at the top of the tree. In an
installed wheel they travel inside the package, under `ef_slurm/_share`.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def templates_dir() -> Path:
    """Directory of the jinja2 batch-script templates.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    return _data_dir("templates")


def site_config_dir() -> Path:
    """Directory of the commented example policy and of the Slurm-side files.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    return _data_dir("site-config")


def _data_dir(name: str) -> Path:
    candidates = (_PACKAGE / "_share" / name, _PACKAGE.parent / name)
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    looked = " nor ".join(str(candidate) for candidate in candidates)
    raise FileNotFoundError(f"{name}/ is neither at {looked}: reinstall ef-slurm")

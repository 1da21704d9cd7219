"""Writes all manual pages and completion scripts below a directory."""

from __future__ import annotations

import sys
from pathlib import Path

from ef_slurm.cli.manual.files import write_all


def main() -> None:
    """`python -m ef_slurm.cli.manual DIRECTORY [VERSION]`."""
    directory, *version = sys.argv[1:]
    write_all(Path(directory), *version)


if __name__ == "__main__":
    main()

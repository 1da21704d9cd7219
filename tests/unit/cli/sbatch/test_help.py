"""The help text against the table of options."""

from ef_slurm.cli.sbatch.help import HELP
from ef_slurm.cli.sbatch.options import OWN


def test_every_option_of_ours_is_in_the_help() -> None:
    missing = {option.flag for option in OWN if option.flag not in HELP}
    assert missing == set()


def test_it_fits_a_terminal() -> None:
    assert [line for line in HELP.splitlines() if len(line) > 100] == []

"""The table of sbatch's options, and the page that shows it. As a script it writes the page."""

import re
from pathlib import Path

import pytest

from ef_slurm.cli.common.options import Takes
from ef_slurm.cli.sbatch.sbatch_table import SBATCH, Handling, SbatchOption

PAGE = Path(__file__).parents[4] / "docs" / "sbatch.md"
MARK = "<!-- checked against SBATCH in ef_slurm/cli/sbatch/sbatch_table.py -->\n\n"


def row(one: SbatchOption) -> str:
    short = f"`-{one.option.short}`, " if one.option.short else ""
    variables = ", ".join(f"`{name}`" for name in one.variables)
    # In the table's words options stand in code, as everywhere in the docs.
    words = re.sub(r"(--[a-z-]+(?:=[A-Z]+)?)", r"`\1`", one.words.replace("|", "\\|"))
    return f"| {short}`{one.option.flag}` | {one.handling.value} | {words} | {variables} |"


def table() -> str:
    head = "| option | | | variable |\n|---|---|---|---|\n"
    return head + "".join(f"{row(one)}\n" for one in SBATCH)


def test_the_page_shows_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8").partition(MARK)[2] == table()


def test_it_is_in_order() -> None:
    names = [one.option.name for one in SBATCH]
    assert names == sorted(names)


@pytest.mark.parametrize("one", SBATCH, ids=lambda one: one.option.name)
def test_what_is_not_as_sbatch_has_it_says_why(one: SbatchOption) -> None:
    if one.handling in (Handling.REFUSED, Handling.DROPPED, Handling.BOUND):
        assert len(one.words) > 8
    assert not one.words.endswith(".")


# sbatch(1) of Slurm 22.05, 24.11 and 25.11.
MANUAL = """
account acctg-freq array batch bb bbf begin chdir cluster-constraint clusters comment constraint
container container-id contiguous core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task
deadline delay-boot dependency distribution error exclude exclusive export export-file extra
extra-node-info get-user-env gid gpu-bind gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task
gres gres-flags help hint hold ignore-pbs input job-name kill-on-invalid-dep licenses mail-type
mail-user mcs-label mem mem-bind mem-per-cpu mem-per-gpu mincpus network nice no-kill no-requeue
nodefile nodelist nodes ntasks ntasks-per-core ntasks-per-gpu ntasks-per-node ntasks-per-socket
oom-kill-step open-mode output overcommit oversubscribe parsable partition power prefer priority
profile propagate qos quiet reboot requeue reservation resv-ports segment signal sockets-per-node
spread-job stepmgr switches test-only thread-spec threads-per-core time time-min tmp tres-bind
tres-per-task uid usage use-min-nodes verbose version wait wait-all-nodes wckey wrap
"""


def test_no_option_of_the_manual_is_missing() -> None:
    assert set(MANUAL.split()) - {one.option.name for one in SBATCH} == set()


def test_a_flag_of_the_environment_is_one_of_sbatchs() -> None:
    flags = [one for one in SBATCH if one.option.takes is Takes.NOTHING and one.variables]
    assert {name for one in flags for name in one.variables} >= {"SBATCH_WAIT", "SBATCH_REQUEUE"}


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    PAGE.write_text(text + MARK + table(), encoding="utf-8")

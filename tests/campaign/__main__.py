"""`python -m tests.campaign`: faults on a mini-Slurm that is up, and what came of them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "docker"))

from mini.settings import UserError

from tests.campaign.campaign import Plan, play
from tests.campaign.report import markdown
from tests.campaign.service import FAKETIME_PLACES


def main() -> int:
    """Run the command; 1 where something was wrong, 2 where it cannot be tried."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--cluster", required=True, help="name of the mini-Slurm")
    parser.add_argument("--faults", type=int, default=1000, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="their order (%(default)s)")
    parser.add_argument(
        "--every", type=float, default=2.0, help="seconds from one to the next (%(default)s)"
    )
    parser.add_argument(
        "--job-every", type=float, default=10.0, help="seconds from job to job (%(default)s)"
    )
    parser.add_argument("--log", type=Path, required=True, help="where all of it is written down")
    parser.add_argument(
        "--faketime",
        type=Path,
        help="libfaketimeMT.so.1, by which the daemon's clock is stepped; Debian's by default, and "
        "without any the clock is left alone",
    )
    options = parser.parse_args()
    faketime = options.faketime
    if faketime is None:
        places = (path for place in FAKETIME_PLACES for path in Path("/").glob(place[1:]))
        faketime = next(places, None)
    if faketime is None:
        print("no libfaketime: the daemon's clock is left alone", file=sys.stderr)
    try:
        outcome = play(
            Plan(
                options.cluster,
                options.faults,
                options.seed,
                options.every,
                options.job_every,
                options.log,
                faketime,
            )
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(markdown(outcome))
    return 0 if outcome.is_good else 1


if __name__ == "__main__":
    sys.exit(main())

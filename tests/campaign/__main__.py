"""`python -m tests.campaign`: faults on a mini-Slurm that is up, and what came of them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "docker"))

from mini.settings import UserError

from tests.campaign.campaign import MOST_JOBS, Plan, play
from tests.campaign.report import markdown


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
    parser.add_argument("--most-jobs", type=int, default=MOST_JOBS, help="at once (%(default)s)")
    parser.add_argument(
        "--on-growth", action="store_true", help="do each fault when a job is about to grow"
    )
    parser.add_argument("--log", type=Path, required=True, help="where all of it is written down")
    options = parser.parse_args()
    try:
        outcome = play(
            Plan(
                options.cluster,
                options.faults,
                options.seed,
                options.every,
                options.job_every,
                options.log,
                options.most_jobs,
                options.on_growth,
            )
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(markdown(outcome))
    return 0 if outcome.is_good else 1


if __name__ == "__main__":
    sys.exit(main())

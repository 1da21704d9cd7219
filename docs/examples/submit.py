"""From a notebook or a script: submit, take what can be promised, change it, wait.

Run it on a login node, where ef-sbatch works: python3 docs/examples/submit.py train.py --lr=0.1
"""

import sys
from datetime import timedelta

import ef_slurm


def main(script: str, *arguments: str) -> None:
    try:
        job = ef_slurm.submit(script, *arguments, deadline=timedelta(minutes=30))
    except ef_slurm.NotPromisedError as refused:
        print(refused)
        if refused.offer is None:
            raise
        job = ef_slurm.submit(script, *arguments, deadline=refused.offer)
    print(job.id, job.state.value, "until", job.deadline)
    if job.promise is not None:  # else its speed is measured first
        print("promised:", job.promise.share, "GPUs, slack", job.promise.slack)
        print(job.update(deadline=job.promise.deadline + timedelta(hours=1)))
    print(job.wait().value)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A training command without torch: iterations are sleeps, at a rate that the GPUs decide.

It honours ef_slurm/contract/ as any foreign command may: its orders are read several times a
second, a stop is acknowledged and checkpointed, TERM too. Started once per node; only the first
process counts. For tests of the daemon that need many quick jobs.
"""

import argparse
import os
import signal
import sys
import time
from dataclasses import dataclass, replace

from ef_slurm.contract import Action, Exit, JobEnvironment, Order, Phase, Progress, StateDir

POLL = 0.1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", required=True, help="GPUs:iterations/s, as ef-sbatch has them")
    parser.add_argument("--slower", type=float, default=1.0, help="factor on all rates")
    parser.add_argument(
        "--slower-from", type=int, nargs=2, metavar=("ITERATION", "PERCENT"), default=(0, 100)
    )
    parser.add_argument("--fail-at", type=int, help="exit with 9 at this iteration")
    parser.add_argument("--says", type=int, nargs=2, metavar=("ITERATIONS", "BATCH"))
    options = parser.parse_args()
    rates = {int(n): float(r) for n, r in (pair.split(":") for pair in options.rates.split(","))}
    environment = JobEnvironment.read(os.environ)
    if options.says is not None:
        environment = said(environment, *options.says)
    assert environment.state_dir is not None
    assert environment.iterations is not None
    directory = StateDir(environment.state_dir, environment.order_file)
    if int(os.environ.get("SLURM_PROCID", "0")):
        return follow(directory, environment.generation)
    gpus = int(os.environ["EF_NUM_NODES"]) * int(os.environ["EF_GPUS_PER_NODE"])
    pace = Pace(rates[gpus] * options.slower, *options.slower_from)
    return train(directory, environment, gpus, pace, options.fail_at)


@dataclass(frozen=True)
class Pace:
    """Iterations/s, and from which iteration on only some percent of them."""

    rate: float
    slower_from: int
    percent: int

    def done(self, base: int, seconds: float) -> int:
        """Iterations done, so long after iteration `base`."""
        fast = max(0, self.slower_from - base) / self.rate
        slow = max(0.0, seconds - fast) * self.percent / 100
        return base + int((min(seconds, fast) + slow) * self.rate)


def said(environment: JobEnvironment, iterations: int, batch: int) -> JobEnvironment:
    """What the script says itself counts where nothing was submitted."""
    return replace(
        environment,
        iterations=environment.iterations or iterations,
        global_batch_size=environment.global_batch_size or batch,
        script_iterations=iterations,
        script_global_batch_size=batch,
    )


def follow(directory: StateDir, generation: int) -> int:
    """What the other nodes' processes do: leave when the first one does."""
    while True:
        progress = directory.read_progress()
        ended = (Phase.STOPPED, Phase.FINISHED, Phase.FAILED)
        if progress and progress.generation == generation and progress.phase in ended:
            return progress.exit_code or 0
        time.sleep(POLL)


def train(
    directory: StateDir, environment: JobEnvironment, gpus: int, pace: Pace, fail_at: int | None
) -> int:
    terminated: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: terminated.append(number))
    signal.signal(signal.SIGUSR2, lambda *_: None)
    before = directory.read_progress()
    base = (before.checkpoint_iteration or 0) if before is not None else newest(directory)
    total, generation = environment.iterations or 0, environment.generation
    started = time.time()
    first = started + 1 / pace.rate

    def report(phase: Phase, iteration: int, saved: int, code: Exit | None = None) -> None:
        directory.write_progress(
            Progress(
                generation=generation,
                phase=phase,
                world_size=gpus,
                iteration=iteration,
                updated_at=time.time(),
                started_at=started,
                first_iteration_at=first if time.time() >= first else None,
                iterations_per_second=pace.rate,
                checkpoint_iteration=saved,
                stop_iteration=iteration if phase in (Phase.STOPPING, Phase.STOPPED) else None,
                exit_code=None if code is None else int(code),
                script_iterations=environment.script_iterations,
                script_global_batch_size=environment.script_global_batch_size,
            )
        )

    while True:
        iteration = min(total, pace.done(base, time.time() - started))
        if fail_at is not None and iteration >= fail_at:
            return 9
        if iteration >= total:
            report(Phase.FINISHED, total, total, Exit.FINISHED)
            return Exit.FINISHED
        if terminated or stop_ordered(directory.read_order(), generation):
            report(Phase.STOPPING, iteration, base)
            (directory.checkpoints / str(iteration)).mkdir(parents=True, exist_ok=True)
            report(Phase.STOPPED, iteration, iteration, Exit.STOPPED)
            return Exit.STOPPED
        report(Phase.RUNNING, iteration, base)
        time.sleep(POLL)


def newest(directory: StateDir) -> int:
    """The checkpoint that another job has left there."""
    found = directory.checkpoints.iterdir() if directory.checkpoints.is_dir() else ()
    return max((int(path.name) for path in found if path.name.isdecimal()), default=0)


def stop_ordered(order: Order | None, generation: int) -> bool:
    if order is None or order.generation != generation:
        return False
    return order.action in (Action.STOP, Action.RELAUNCH)


if __name__ == "__main__":
    sys.exit(main())

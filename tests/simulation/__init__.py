"""The whole daemon in one seeded simulation.

A seed makes a story (`author`): a cluster, its users, their jobs, and what befalls all of them. A
story is data (`story`), so that a failing one can be shortened (`shrink`) and kept as a test. A
life (`life`) plays it with the daemon's real scheduler, queue, executor, observer and request
handlers on the Slurm in memory, in virtual time, and asks after every step whether what the daemon
promises still holds (`invariants`).

    python -m tests.simulation --seeds 100000 --jobs 2
"""

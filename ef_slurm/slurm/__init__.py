"""The only room that talks to Slurm.

In come job ids and values of `types` (`JobUpdate`, `Submission`); out come what Slurm says
(`Observation`, `SlurmJob`) and its errors as types. Begin with `interface`, the one protocol that
the daemon and the commands use; `commands` implements it with Slurm's own commands; `pending` says
who holds a job that waits. A Slurm in memory with the same contract, for tests, lives in
`tests/fakes`. What Slurm does, measured: `docs/slurm.md`.
"""

"""ef-schedd: one loop that observes, plans and acts, and a server beside it.

In come the site's configuration, the queue and a `Slurm`; out go rows, orders and actions on Slurm.
`main` surrounds the loop with the process, its lock and its sockets; `scheduler` is the loop, one
`tick` of which says all that this room does; `looks` says when Slurm is asked, `ingest` writes what
it says into the queue, `acting` is a round of actions; `settings` is how it works, `check` compares
that with Slurm. Below: `observe` (what Slurm and the jobs say), `plan` (rows to planner and back),
`act` (the plan against reality) and `serve` (requests). Arrows: main → scheduler → serve, act →
plan → observe, none back.
"""

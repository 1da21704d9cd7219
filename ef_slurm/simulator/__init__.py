"""The simulator: a trace through the planner in virtual time, with baselines and reports.

Paper section 6 (evaluation). In comes a trace (`trace` reads a file, `generate` makes one,
`history` reads a site's past) and a cluster; out come numbers (`metrics`) and figures (`report`).
Begin with `simulate`, one simulation from its inputs to its numbers; `engine` is the event loop,
`simulated_job` what it moves, `policies` the schedulers that it asks, `invariants` its own rules.
"""

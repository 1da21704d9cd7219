"""The simulator: a trace through the planner in virtual time, with baselines and reports.

Paper section 6 (evaluation). `trace` and `throughput` read the published formats, `engine` is the
event loop, `policies` the schedulers that it compares, `metrics` the numbers, `report` the figures.
"""

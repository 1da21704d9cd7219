"""Rows → planner input, and verdicts and plans → rows.

Begin with `planning`, which knows when a plan is due and makes one: `planner_input` goes in, and
`record` writes what comes out. With `--advisory`, `advice` writes to the log instead.
"""

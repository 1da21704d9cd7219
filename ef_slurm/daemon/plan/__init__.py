"""Rows → planner input (`planner_input`), and verdicts and plans → rows (`record`).

With `--advisory`, `advice` writes to the log instead.
"""

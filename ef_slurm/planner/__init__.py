"""The paper, pure: who is promised what, how many GPUs everybody gets, and where.

`ef_slurm.planner.plan` is the entry point; `admission`, `share`, `allocation` and `buddy` are the
paper's sections 4.1 to 4.3, over the throughput curves of `curve` and the timetable of `capacity`.
"""

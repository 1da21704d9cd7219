"""The paper, pure: who is promised what, how many GPUs everybody gets, and where.

In come jobs, a cluster and a policy at one moment, out comes a `Plan`. Who knows the paper reads
the modules in this order, each with a worked example at its beginning:

1. `plan`: the one entry point and the order of the steps.
2. `timeline.task`, `timeline.timetable`: what the paper's jobs and time slots are here.
3. `share` (minimum satisfactory share, section 4.1): what a job needs to be in time.
4. `admission` (Algorithm 1): whether a newcomer can be promised, or what can be offered instead.
5. `allocation` (Algorithm 2) and `best_effort`: who gets what is left over.
6. `placement` (section 4.3) and `relocation`: on which GPUs, and who moves.
7. `risk`: what the paper leaves out, lost capacity and jobs slower than their curves.
8. `explain`, `what_if`: reasons, and verdicts on jobs that nobody has submitted.

Where it differs from the paper: shares are blocks at their place, not counts; every change is paid
for inside the plan; shares are filled from now forward; each admitted job keeps a complete plan
that is only ever replaced by another complete one.
"""

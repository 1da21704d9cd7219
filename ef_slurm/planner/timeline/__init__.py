"""Who holds which GPUs when.

A `task` is a job as the planner thinks of it; its plan is a row of reservations on the `timetable`
of a GPU type, found by `bookings`; the `reservation_table` holds everybody's plans, keeps them
apart and within the `limits`. `gpu_index` numbers the GPUs of a type, `block_levels` keeps minima
over blocks of them, `outages` says which ones an outage takes, `curve` is the envelope of a
throughput curve, and `rounding` how exact times are. Begin with `task`, then `timetable`.
"""

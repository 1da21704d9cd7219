"""Requests of commands, answered over HTTP.

`server` listens in a thread of its own; `gate` bounds each connection, `connections` all of them;
`handler` sees who asks (`identification`), within which `limits`, and has `workers` answer;
`requests` answers from the queue, `registration` lets a job into it, and what only the scheduler
may do travels to its thread through `scheduler_calls`; `sending` takes answers back.
"""

"""Requests of commands, answered.

`server` listens and knows who asks, `requests` answers from the queue, and what only the scheduler
may do travels to its thread through `scheduler_calls`.
"""

"""The queue: jobs, promises, plans, intents and events in one SQLite file on a local disk.

In come values of the model, out come the same; begin with `store`, the whole as one object.
`migrations` has the tables, `transitions` the life of a job, `queries` the questions that commands
ask, `views` those of administrators (`docs/queue.md`), `retention` how long the past stays. Nothing
is imported here: commands that ask the daemon need the errors only.
"""

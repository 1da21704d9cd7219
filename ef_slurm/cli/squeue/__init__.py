"""ef-squeue: the queue as a table, or the story of one job.

In come options, out come lines. Begin with `command`; `columns` has every column and the layout of
a table, `story` the sentences of `--explain`.
"""

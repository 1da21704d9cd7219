"""`ef-squeue --watch`: the queue as a full-screen view, with a job's story and its log's end.

Begin with `app`, the only file that imports Textual; `source` asks, `screen_rows` picks and sorts,
`log_tail` reads. Whatever other people have written goes through `formats/printing.py` first.
"""

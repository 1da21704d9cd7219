"""What clusters did in the past: readers of accounting exports and of published traces.

In goes a file, out comes a `History`: GPU jobs, each with its last run and the GPU time of all its
runs, and how many rows were left out for which reason. Begin reading in `records`, then `read`,
which tells the formats apart.
"""

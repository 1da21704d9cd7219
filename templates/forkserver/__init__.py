"""What starts the ranks of a node in place of torchrun's agent: a fork server.

One process per node imports torch, and what the script imports, once; the ranks are forked from it
and find what `torchrun` and `python -u script.py` would have given them. Where that is not possible
torchrun starts them, on all nodes alike. Begin with `main`.

This is text: `ef_slurm/launch/program.py` makes one program of these files, which stands in the
batch script and runs with the job's own Python (3.9 or newer), where nothing of ef-slurm need be
installed.
"""

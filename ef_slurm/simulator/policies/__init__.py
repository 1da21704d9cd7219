"""Scheduling policies of the simulator's loop, one small file each."""

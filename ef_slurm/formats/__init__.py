"""Text and bytes: what people and programs write, and what they are shown.

Host lists, durations, points in time and zones as Slurm has them; delimited files and throughput
tables; typed records as JSON; files that appear whole or not at all; reasons as sentences. Each
reader either gives a valid value or an error that says where and what would be valid. Imports the
model only; begin with the format that you need.
"""

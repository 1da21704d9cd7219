"""ef-sim: replays of traces.

`command` has the group with run and compare, `generate` and `site` one subcommand each; they share
`options`, `shared` (inputs, errors, progress) and `outputs`.
"""

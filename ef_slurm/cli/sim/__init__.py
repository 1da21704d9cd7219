"""ef-sim: replays of traces.

`command` has the group; `simulate` has run and compare, `generate` and `site` one each. They share
`options`, `shared` (inputs, errors, progress) and `outputs`.
"""

"""Throughput curves that nobody had to know: fitted to the few sizes that were measured.

In come measured (GPUs, iterations/s), out come the sizes to measure next (`measuring`) and a median
and a pessimistic value for every size (`scaling`). Begin with `measuring`.
"""

"""Throughput curves that nobody had to know: fitted to the few sizes that were measured.

In come measured (GPUs, iterations/s), out comes a median and a pessimistic value for every size.
Begin with `scaling`.
"""

"""Which GPUs a share gets (paper section 4.3).

`buddy` is the entry; `free_blocks` counts what fits, `occupancy` knows who holds what while a
placement is made, `migration` finds the cheapest set of jobs to move.
"""

"""Reports of simulations.

In come results, out come tables for the terminal (`table`), an HTML page (`html`), a figure in a
file (`figures`) and rows of a database (`database`). `series` makes the curves that `drawings`
draws.
"""

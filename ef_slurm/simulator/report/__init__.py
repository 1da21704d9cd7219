"""Reports of simulations.

In come results, out come tables for the terminal (`table`), an HTML page (`html`, drawn with
`svg`), a figure (`png`) and rows of a database (`database`). `series` makes the curves that figures
draw.
"""

"""ef-profile: what was measured of trainings, to look at, take in, give away and forget.

Begin with `command`; `drawing` makes lines of text, `figure` pictures, `tables` files.
"""

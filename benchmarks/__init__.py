"""Measurements: the server beside the in-process limit and a bare echo, turn by turn in one run, as ratios.

`make bench` runs `benchmarks.run`. Absolute figures say more of the machine than of Zoo; compare within a run only.
"""

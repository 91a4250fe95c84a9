"""Measured times of batches on one lane (one thread) of a CPU, in milliseconds, by length and rows.

Texts (all_minilm_l6_v2, tokens; compiled and eager) and sounds (silero_vad, one of 3.3 s; eager): the least of 15 turns of the
thread's processor time by `python -m benchmarks.simulation.measure MODEL TIER`, on 2 cores of an Intel Xeon at 2.5 GHz without
bfloat16, beside other work. Images (efficientnet_lite0): from rows a second of a lane, measured separately: 58 and 77 compiled,
38 and 46 eager, at 1 and 8 rows.
"""

from __future__ import annotations

from benchmarks.simulation.table import Table

IMAGE = Table("""
1 1 17.24
1 8 103.90
""")

IMAGE_EAGER = Table("""
1 1 26.32
1 8 173.91
""")

SOUND = Table("""
1 1 4.40
1 2 7.28
1 4 12.03
1 8 22.32
""")

TEXT = Table("""
8 1 7.63
8 2 8.53
8 4 11.08
8 8 16.03
8 16 26.66
27 1 10.24
27 2 13.93
27 4 21.51
27 8 39.82
27 16 75.42
64 1 15.48
64 2 24.75
64 4 43.40
64 8 86.08
64 16 173.09
128 1 25.81
128 2 44.83
128 4 92.23
128 8 178.46
128 16 360.65
200 1 39.87
200 2 77.47
200 4 155.38
200 8 305.87
200 16 634.21
""")

TEXT_EAGER = Table("""
8 1 13.21
8 2 14.05
8 4 16.94
8 8 22.53
8 16 33.19
27 1 16.73
27 2 20.83
27 4 30.50
27 8 49.60
27 16 94.72
64 1 22.24
64 2 32.08
64 4 54.44
64 8 106.70
64 16 192.11
128 1 33.05
128 2 54.72
128 4 109.89
128 8 206.47
128 16 391.97
200 1 48.26
200 2 89.28
200 4 176.55
200 8 337.92
200 16 710.08
""")

"""`make bench-zoo`: networks in Zoo beside the same networks in their makers' own libraries, in one run.

run           measures; writes benchmarks/results/zoo.json
report        writes docs/zoo-benchmarks.md from it
networks      what is measured, as the folders that libraries write
participant   a library, in a process of its own
"""

"""Measurements: the server beside the in-process limit and a bare echo, one at a time in the same run, as ratios.

    run            measures Zoo beside its limits and beside other servers (`make bench`, `make bench-peers`)
    report         writes docs/benchmarks.md from the results
    simulate       the scheduler's policy under a virtual clock
    load/          what is sent, when, and the client that sends it
    participants/  the servers and the in-process limit
    measurement/   the testbed, the cases and the scenarios
    reports/       statistics, tables, plots and aims
    simulation/    the simulated device, its load and its contenders
    finetune/      fine-tuning beside plain scripts

Absolute figures depend on the machine; compare figures of one run only.
"""

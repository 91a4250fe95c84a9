"""Tests and loads of a machine with a GPU, with the Python and the torch found there, without a network (`make bench-gpu`).

    run           the command: the parts in their order, within a time limit; writes JSON and a table
    requirements  the packages that each part needs, and those that are missing
    networks      the zoo's architectures with seeded weights, and their inputs
    checks        staging, CUDA graphs, the memory ledger, and tiers equal to eager fp32 within the card
    seeded_server the whole server with a seeded network
    loads         closed loops, raw photos, Server and Offline

The smallest form runs on a CPU in the tests.
"""

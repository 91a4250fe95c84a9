"""`zoo doctor`: a home and its database looked over while no server needs to run.

    findings     what there is to say of one entry
    home         folders and files: datasets, jobs, versions, weights, leftovers
    database     SQLite's or PostgreSQL's tables: schema, integrity, every row
    quarantine   what is damaged put aside, never deleted
    checkup      all of it in order

Nothing here imports torch, writes while it looks, or asks a server.
"""

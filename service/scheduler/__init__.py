"""Decides what runs next. Pure policy (clock given, no torch) in `policy.py`; threads and futures in `scheduler.py`."""

"""Decides which rows run next on a device.

The decisions are pure (the clock is a parameter, no torch) in `policy.py` and the modules that it names; `scheduler.py` holds the
lock, the threads' meeting point and the answers to the event loop.
"""

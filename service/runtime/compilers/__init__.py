"""Compilers of networks, and the cache of what they made."""

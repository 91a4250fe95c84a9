"""Checks that a network or head must pass before it serves."""

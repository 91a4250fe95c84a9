"""Metrics on held-out data, their intervals, baselines, the incumbent and the worst mistakes."""

"""Figures on held-out data, their intervals, baselines and worst mistakes."""

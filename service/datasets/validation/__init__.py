"""Validation of a dataset, and its canonical form on disk."""

"""Validation of a data set and its canonical form on disk."""

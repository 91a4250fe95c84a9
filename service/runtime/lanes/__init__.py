"""Lanes of a device: threads, or processes, that run batches."""

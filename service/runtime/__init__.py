"""Execution: networks on a device, and the lanes that run batches. No other serving code calls torch's kernels."""

"""Executes: one network on one device, the lanes that batches run in. The only serving code that calls torch's kernels."""

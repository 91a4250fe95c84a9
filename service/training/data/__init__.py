"""Examples as batches and features."""

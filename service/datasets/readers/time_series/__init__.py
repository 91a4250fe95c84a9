"""Series of numbers in time: timestamps, steps and columns."""

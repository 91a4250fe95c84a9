"""Tasks on series of numbers in time."""

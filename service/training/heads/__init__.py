"""Heads on fixed features, and the linear part of a table's model."""

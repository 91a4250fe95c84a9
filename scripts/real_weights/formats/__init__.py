"""Readers of the formats in which packages ship weights."""

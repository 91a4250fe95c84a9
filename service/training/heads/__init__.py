"""Heads on fixed features, and linear models of tables."""

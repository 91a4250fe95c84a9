"""Faster execution tiers: compile, check, time and swap networks in the background."""

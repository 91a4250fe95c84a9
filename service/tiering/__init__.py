"""Faster execution tiers: networks are compiled, checked, timed and swapped in the background."""

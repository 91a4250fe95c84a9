"""Readers of data that packages ship, in formats that no library here reads."""

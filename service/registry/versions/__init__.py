"""Versions of tuned models: discovered, named by aliases, deleted, and shared between servers."""

"""Versions, aliases, canaries and promotion, and how servers share them."""

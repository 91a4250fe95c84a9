"""Networks for sounds."""

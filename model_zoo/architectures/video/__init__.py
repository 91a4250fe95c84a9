"""Networks that read videos."""

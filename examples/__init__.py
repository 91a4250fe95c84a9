"""Examples: the tour of `make demo`, and data for fine-tuning."""

"""What to try Zoo with: `make demo`, and data to fine-tune on."""

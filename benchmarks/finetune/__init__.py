"""Fine-tuning measured beside plain scripts and scikit-learn: same data, same machine, turn by turn."""

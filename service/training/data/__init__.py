"""Examples as features, targets and batches."""

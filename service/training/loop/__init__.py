"""The training loop, its checkpoints, optimizer and criteria."""

"""Jobs, leases, events and checkpoints in the database."""

"""Jobs, leases, events and checkpoints in the database; retention of what jobs leave."""

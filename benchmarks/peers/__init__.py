"""Other model servers on the same networks and files; each in an environment of its own (`make bench-setup`)."""

"""The testbed, the cases and the scenarios of a run."""

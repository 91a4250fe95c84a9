"""Training methods: what a job does with a base and a data set."""

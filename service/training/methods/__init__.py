"""Training methods: one module for each way from a base and a data set to a version."""

"""Worker processes: their launcher, which keeps a prewarmed one, and the script that runs before the worker."""

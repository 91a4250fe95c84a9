"""Worker processes: launch, bootstrap, and one kept ready."""

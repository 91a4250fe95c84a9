"""Loading and unloading of versions, and the memory budget."""

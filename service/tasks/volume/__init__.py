"""Tasks whose inputs are volumes."""

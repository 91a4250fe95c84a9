"""Tasks on rows of tables."""

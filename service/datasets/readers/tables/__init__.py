"""Rows of CSV, TSV, JSON Lines and Parquet."""

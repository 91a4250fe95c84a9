"""Columns of tables: cells, number formats, targets and input columns."""

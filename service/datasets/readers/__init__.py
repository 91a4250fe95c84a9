"""Readers of users' data: detection, texts; tables, columns, time series and media in sub-packages."""

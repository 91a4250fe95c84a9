"""Readers of users' data: detection and text; tables, columns, time series and media have sub-packages."""

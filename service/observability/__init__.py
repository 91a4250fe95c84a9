"""Metrics and statistics (written by `recorder.py` alone), logs, and the HTTP port for operators."""

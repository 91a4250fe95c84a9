"""What operators see: metrics and statistics (recorded in `recorder.py` alone), logs, and the HTTP port that shows them."""

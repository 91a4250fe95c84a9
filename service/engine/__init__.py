"""The data plane: loaded models, admission of rows, and the execution of their batches.

`loaded_model.py` is the seam between a request and a device: `inference/` and `wire/` know a loaded model by that interface
alone.
"""

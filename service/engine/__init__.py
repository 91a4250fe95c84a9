"""The data plane: loaded models, admission of rows, and the execution of their batches."""

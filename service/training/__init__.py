"""The worker process of a fine-tune job: features, training, evaluation and the result. It runs outside the server's process."""

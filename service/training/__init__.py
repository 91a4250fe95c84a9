"""What a worker process does with a job: features, training, evaluation, the result. Runs outside the server's process."""

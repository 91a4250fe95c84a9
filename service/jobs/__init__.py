"""Durable fine-tune jobs: their store, their supervisor, and the processes that work on them. No torch, no grpc."""

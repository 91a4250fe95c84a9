"""Weights of other formats as safetensors."""

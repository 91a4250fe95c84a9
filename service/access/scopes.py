"""What a token may permit."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """One permission. The values are stored in the database and shown to users."""

    INFER = "infer"
    """Inference, and reading about models."""
    MODELS = "models"
    """Loading, unloading and configuring models; aliases, traffic and deletion of versions; reading about models."""
    FINETUNE = "finetune"
    """Datasets and jobs of the principal; reading about models."""
    ADMIN = "admin"
    """Everything, for all principals, and tokens."""
    METRICS = "metrics"
    """Reading /metrics of the HTTP port, and nothing else."""


ALL = frozenset(Scope)

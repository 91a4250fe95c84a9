"""Golden cases of the catalog's models and of fine-tuned versions."""

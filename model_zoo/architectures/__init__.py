"""Torch modules that timm and transformers do not have: one file each, imported only to build that network."""

"""The torch modules of served networks.

One file for each architecture that timm and transformers lack, imported only to build that network; ``wrappers`` and ``tuned``
adapt all architectures to the signature of a card.
"""

"""The torch modules of served networks.

One file for each architecture that timm and transformers lack, imported only to build that network; ``wrappers`` and ``tuned``
adapt all architectures to the signature of a card. ``image/efficientnet_lite`` and ``text/bert_encoder`` equal networks of the
libraries, so that a start with the default models imports neither.
"""

"""The pretrained zoo: what can be served, where its bytes come from, and how they become a torch module.

A walk from a name to a network::

    Catalog.get(name) ──► Card ──► Store.materialise(card) ──► Materialised ──► load_network(card, materialised)
      catalog.py          card.py    store.py                    a folder         network.py
      cards/*.yaml      golden_case.py    sources/  fetch, resume, check sha256
                                       convert.py  → safetensors, once

* ``errors``         the exception tree of this package
* ``card``           the typed card: source, weights, architecture, signature, recipe, licence, golden cases
* ``catalog``        the cards that ship with the package, by name
* ``golden``         known inputs with known answers, and the two files they need
* ``store``          ``ZOO_HOME/weights``: materialise, find, verify
* ``locking``        one writer at a time, between threads and between processes
* ``sources``        where bytes come from; today Python package indexes
* ``convert``        source bytes → ``model.safetensors``, labels, tokenizer; imports torch
* ``torchscript``    the tensors of a TorchScript archive, read without running its code; imports torch
* ``architectures``  torch modules that timm and transformers do not have
* ``network``        card + folder → the module that is served; imports torch, timm or transformers on need

This package never imports ``service``. Importing ``card``, ``catalog`` or ``store`` does not import torch, so a client
or ``zoo --help`` may read the catalog cheaply.
"""

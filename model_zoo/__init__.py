"""The pretrained zoo: the models that can be served, the sources of their weights, and their torch modules.

From a name to a network::

    Catalog.get(name) ──► Card ──► Store.materialise(card) ──► Materialised ──► load_network(card, materialised)
      catalog.py       cards/card.py   store.py              materialised.py     network.py
      cards/*.yaml                       sources/  fetch, resume, check sha256
                                         formats/convert.py  → safetensors, once

* ``errors``           the exception tree of this package
* ``cards``            the typed card: source, weights, architecture, signature, recipe, licence; and the cards of the package
* ``catalog``          the cards by name
* ``golden``           golden cases: known inputs with known answers, and their files
* ``materialised``     the files of a card on this machine
* ``references``       references to published networks → derived cards
* ``inventory``        what a home has and could have: lock file, cache, hub catalog, search
* ``store``            ``ZOO_HOME/weights``: materialise, find, verify
* ``versions``         ``ZOO_HOME/versions``: publishes, lists and deletes fine-tuned versions
* ``version_folder``   reads one version
* ``version_checks``   stores the measurements of servers beside a version
* ``locking``          lock files, between threads and between processes
* ``strict_json``      JSON without NaN and infinity
* ``release``          whether a newer release wrote a document
* ``sources``          artifacts of weights: package indexes, model hubs, folders
* ``formats``          source files → ``model.safetensors``, labels, tokenizer; imports torch
* ``architectures``    torch modules that timm and transformers lack or are slow to import for, and the wrappers of all served
                       networks
* ``network``          card + files → the module that is served; imports torch, timm or transformers on need
* ``shared_weights``   weights in memory once for several networks

This package never imports ``service``. Importing ``cards``, ``catalog`` or ``store`` does not import torch, so a client or
``zoo --help`` reads the catalog cheaply.
"""

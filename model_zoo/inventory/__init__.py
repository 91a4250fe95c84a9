"""What a home has, and what it could have.

* ``lock_file``    ``zoo.lock``: the pulled models of a home, so that another home gets the same ones
"""

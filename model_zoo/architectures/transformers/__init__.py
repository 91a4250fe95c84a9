"""Networks of the library transformers, adapted to the signatures of cards.

* ``auto_classes``      builds a network by one of the library's automatic classes
* ``network_wrappers``  the wrapper of each class
* ``generation``, ``image_text``, ``mask_filler``, ``sound``, ``window_transcriber``: wrappers of a kind of network
"""

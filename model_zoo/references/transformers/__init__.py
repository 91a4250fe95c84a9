"""Repositories of transformers, by the class of network that ``config.json`` names.

* ``card``            from a repository to the plan of its card: finds the planner by the end of the class name
* ``network_class``   what planners share: the class, its architecture, fields of every card
* ``prompt``          fields of networks that write text
* ``extractor``       fields of networks that read sounds
* ``whisper``         planner of networks that transcribe windows
* ``ranker``          planner of networks that score pairs of texts
* ``tokenizer_file``    examines the file of a tokenizer before it reads any text
* ``text``, ``generation``, ``sound``, ``speech``, and in ``vision`` those of images: planners of a family of tasks; each
  lists its ``PLANNERS`` and ``TASKS``
"""

"""Planners of networks for images: classifiers and encoders (``image``), ``detection``, ``segmentation``, and networks that
compare images with texts (``image_text``).
``processor_class`` says which processors Zoo has."""

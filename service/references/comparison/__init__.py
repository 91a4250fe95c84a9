"""Comparisons of Zoo's answer with the makers' library's, one for each task: how far they are apart, and the golden case that
follows.

candidates  likeliest tokens for masks
compared  what a comparison gets and gives
relevance   scores of pairs of texts
spans     labelled spans of texts
detections  objects with boxes
labelled_images  labels of images that a caller names
masks     classes of pixels
pictures  pictures as the network gets them, for every task on images
vectors   probabilities of classes, embeddings
transcripts  texts of sounds
writing   generated texts
table     the comparison of each task
"""

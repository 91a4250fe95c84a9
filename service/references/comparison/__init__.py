"""Comparisons of Zoo's answer with the makers' library's, one for each task: how far they are apart, and the golden case that
follows.

compared  what a comparison gets and gives
detections  objects with boxes
vectors   probabilities of classes, embeddings
writing   generated texts
table     the comparison of each task
"""

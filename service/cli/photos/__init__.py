"""`zoo photos`: an index of the photos in a folder, and searches in it.

A server answers about each photo once: labels, an embedding, and with a CLIP-like model an embedding that words can be compared
with. The answers are kept in one SQLite file, by the digest of the photo, so that a copy or a moved photo costs no call. Nothing
here decodes a photo but the thumbnails of `contact_sheet`.

    scan            the photos of a folder
    photo_index     the SQLite file
    answering       one model's answers about many photos, by the bulk stream
    indexing        what has to be asked, and in which order
    kinds           WordNet's words for the 1,000 classes of ImageNet
    vocabulary      words of a search → labels of a classifier
    ranking         the photos of the index by score
    queries         what a search compares the photos with
    contact_sheet   an HTML page with the photos that were found
"""

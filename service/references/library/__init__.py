"""Answers of the makers' library, by family of tasks. They run in the process of `library_answers.py`.

sounds   embeddings of sounds
writing  texts and transcripts that are written token by token
"""

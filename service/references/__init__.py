"""Pulls networks by reference: fetched, converted, compared with their makers' own library, and kept as cards under ZOO_HOME.

pull             the steps from a reference to a card that is served
locked_pull      the models of a lock file, exactly as it pins them
agreement        Zoo's answers beside the library's
comparison       how far two answers of a task are apart
library_answers  the library's answers, in a process of its own
library_request  what that process is asked
transformers_pipelines  of the answers, those of transformers
library_writing  of these, the texts that a network writes
verification_inputs  the raw inputs that both answer
"""

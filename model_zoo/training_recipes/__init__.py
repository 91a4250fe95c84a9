"""Recipes of the networks that Zoo itself has trained. Each is a module of its name that ``recipe_table`` lists.

``data`` → ``recipe.train`` → weights, scales and figures; ``remake`` runs one and compares what it makes with the card.
Nothing here is imported by a server.
"""

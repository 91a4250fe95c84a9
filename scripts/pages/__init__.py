"""Pages of the documentation that follow from the code: `python -m scripts.pages`, or `make docs`.

zoo     docs/zoo.md: the cards of the package and the hub catalog, by task
tasks   docs/tasks.md: `service/tasks/table.py`, with inputs, answers and options
cards   docs/cards.md: the fields of a card
"""

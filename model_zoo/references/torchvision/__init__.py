"""Weights that torchvision publishes → a card. ``published``: what the installed library says of them. ``card``: the card."""

"""Networks that give an image for an image."""

"""Scripts of the pages of the course."""

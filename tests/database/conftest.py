from database.fixtures import postgres, url

__all__ = ["postgres", "url"]

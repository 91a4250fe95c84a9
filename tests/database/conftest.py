from tests.support.databases import postgres, url

__all__ = ["postgres", "url"]

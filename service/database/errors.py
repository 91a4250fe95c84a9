"""What can go wrong with the database itself."""

from __future__ import annotations


class DatabaseError(Exception):
    """The database cannot be used as it was given. One sentence for an operator; names no password."""


class DatabaseUnavailable(DatabaseError):
    """It did not answer just now, or could not write. The same again may go well later."""


class DatabaseFull(DatabaseUnavailable):
    """Its disk has no room left."""

"""Errors of the database itself."""

from __future__ import annotations


class DatabaseError(Exception):
    """The database cannot be used as configured. One sentence for an operator, without passwords."""


class DatabaseUnavailable(DatabaseError):
    """The database did not answer, or could not write. The same call may succeed later."""


class DatabaseFull(DatabaseUnavailable):
    """The disk of the database is full."""

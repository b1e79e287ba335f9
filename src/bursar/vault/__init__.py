"""Secrets at rest: encrypted before they reach the database, and bound to the place they are kept in."""

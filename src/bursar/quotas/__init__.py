"""Limits: budgets leased from the database, and rates shared between workers."""

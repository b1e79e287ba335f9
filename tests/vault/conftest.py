"""A database that is empty before each test."""

from tests.gateway.conftest import database_url, gateway_database

__all__ = ["database_url", "gateway_database"]

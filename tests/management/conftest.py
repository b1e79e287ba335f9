"""The management API is met where its clients meet it: behind the whole gateway."""

from tests.gateway.conftest import books, database_url, gateway, gateway_database, oracle, start_gateway

__all__ = ["books", "database_url", "gateway", "gateway_database", "oracle", "start_gateway"]

"""The management API is met where its clients meet it: behind the whole gateway."""

import pytest

from tests.gateway.conftest import StartGateway, books, database_url, gateway_database, oracle, start_gateway
from tests.gateway.running import Gateway

__all__ = ["books", "database_url", "gateway", "gateway_database", "oracle", "start_gateway"]


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> Gateway:
    """The gateway with the models every test has, and room for more in the database."""
    return await start_gateway(settings="general_settings: {store_model_in_db: true}")

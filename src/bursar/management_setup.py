"""The management API and its rooms, made and wired. Part of the composition."""

from collections.abc import Sequence

from bursar.access.keys import LitellmKeyForms
from bursar.management.api import ManagementApi
from bursar.management.audit import AuditEndpoints
from bursar.management.documentation import Documentation
from bursar.management.keys import KeyEndpoints
from bursar.management.route import Room
from bursar.ports import Authenticator
from bursar.store.audit_log import PostgresAuditLog
from bursar.store.database import Database
from bursar.store.keys import PostgresKeys
from bursar.store.memberships import PostgresMemberships


def management_rooms(database: Database, keys: PostgresKeys, forms: LitellmKeyForms) -> list[Room]:
    """All rooms, and the page that documents them."""
    rooms: list[Room] = [KeyEndpoints(keys, forms), AuditEndpoints(PostgresAuditLog(database))]
    return [*rooms, Documentation(rooms)]


def management_api(database: Database, authenticator: Authenticator, rooms: Sequence[Room]) -> ManagementApi:
    """The handler in front of `rooms`."""
    return ManagementApi(authenticator, PostgresMemberships(database), rooms)

"""The management API and its rooms, made and wired. Part of the composition."""

from collections.abc import Sequence

from bursar.access.keys import LitellmKeyForms
from bursar.domain.periods import Calendar
from bursar.management.activity import ActivityEndpoints
from bursar.management.api import ManagementApi
from bursar.management.audit import AuditEndpoints
from bursar.management.budgets import BudgetEndpoints
from bursar.management.customers import CustomerEndpoints
from bursar.management.documentation import Documentation
from bursar.management.keys import KeyEndpoints
from bursar.management.organizations import OrganizationEndpoints
from bursar.management.route import Room
from bursar.management.spend_calculate import SpendCalculateEndpoints
from bursar.management.spend_logs import SpendLogEndpoints
from bursar.management.spend_totals import SpendTotalEndpoints
from bursar.management.tags import TagEndpoints
from bursar.management.team_members import TeamMemberEndpoints
from bursar.management.team_views import TeamViews
from bursar.management.teams import TeamEndpoints
from bursar.ports import Authenticator, CostQuotes
from bursar.store.activity import PostgresActivity
from bursar.store.audit_log import PostgresAuditLog
from bursar.store.budget_table import PostgresBudgetRows
from bursar.store.customers import PostgresCustomers
from bursar.store.database import Database
from bursar.store.keys import PostgresKeys
from bursar.store.memberships import PostgresMemberships
from bursar.store.organizations import PostgresOrganizations
from bursar.store.reports import PostgresReportNames, ReportReader
from bursar.store.spend_logs import PostgresSpendLogs
from bursar.store.spend_reset import PostgresSpendReset
from bursar.store.spend_totals import PostgresSpendTotals
from bursar.store.tags import PostgresTags
from bursar.store.team_members import PostgresTeamMembers
from bursar.store.teams import PostgresTeams


def management_rooms(
    database: Database, keys: PostgresKeys, forms: LitellmKeyForms, others: Sequence[Room]
) -> list[Room]:
    """All rooms, and the page that documents them. `others`: those made by the functions below."""
    rooms: list[Room] = [KeyEndpoints(keys, forms), AuditEndpoints(PostgresAuditLog(database)), *others]
    return [*rooms, Documentation(rooms)]


def owner_rooms(database: Database, calendar: Calendar, *, available_teams: Sequence[str] = ()) -> list[Room]:
    """Teams, organizations, customers, budgets and tags. `calendar`: where budget periods end."""
    teams = PostgresTeams(database, calendar)
    return [
        TeamEndpoints(teams),
        TeamMemberEndpoints(teams, PostgresTeamMembers(database, calendar)),
        TeamViews(teams, available=available_teams),
        OrganizationEndpoints(PostgresOrganizations(database, calendar)),
        CustomerEndpoints(PostgresCustomers(database, calendar)),
        BudgetEndpoints(PostgresBudgetRows(database, calendar)),
        TagEndpoints(PostgresTags(database, calendar)),
    ]


def report_rooms(
    database: Database, reading: Database, forms: LitellmKeyForms, quotes: CostQuotes, *, max_budget: float | None
) -> list[Room]:
    """The rooms that report on spend. `reading`: connections that only they use; `max_budget`: the gateway's."""
    reader = ReportReader(reading)
    names = PostgresReportNames(reader)
    return [
        SpendLogEndpoints(PostgresSpendLogs(reader), names, forms),
        SpendTotalEndpoints(
            PostgresSpendTotals(reader), names, forms, PostgresSpendReset(database), max_budget=max_budget
        ),
        SpendCalculateEndpoints(quotes),
        ActivityEndpoints(PostgresActivity(reader), names, forms),
    ]


def management_api(database: Database, authenticator: Authenticator, rooms: Sequence[Room]) -> ManagementApi:
    """The handler in front of `rooms`."""
    return ManagementApi(authenticator, PostgresMemberships(database), rooms)

"""The management API and its rooms, made and wired. Part of the composition."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from bursar.access.keys import LitellmKeyForms
from bursar.access.passwords import hash_password
from bursar.config.schema import Config, LitellmSettings
from bursar.domain.errors import ConfigError
from bursar.domain.money import usd_float
from bursar.domain.periods import Calendar
from bursar.management.activity import ActivityEndpoints
from bursar.management.api import ManagementApi
from bursar.management.audit import AuditEndpoints
from bursar.management.budgets import BudgetEndpoints
from bursar.management.customers import CustomerEndpoints
from bursar.management.documentation import Documentation
from bursar.management.key_fields import KeyFields
from bursar.management.key_making import KeyMaker
from bursar.management.key_rules import GenerationSettings, KeyRules, KeySettings, UpperBounds
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
from bursar.management.users import NewUser, UserEndpoints, UserSettings
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
from bursar.store.users import PostgresUsers

T = TypeVar("T")


def management_rooms(
    database: Database,
    keys: PostgresKeys,
    forms: LitellmKeyForms,
    config: Config,
    calendar: Calendar,
    others: Sequence[Room],
) -> list[Room]:
    """All rooms, and the page that documents them. `others`: those made by the functions below.

    Raises ConfigError: a setting does not fit.
    """
    settings = _key_settings(config.litellm, calendar)
    memberships = PostgresMemberships(database)
    rules = KeyRules(keys, memberships, settings)
    maker = KeyMaker(forms, rules, settings)
    users = _user_settings(config.litellm, calendar)
    rooms: list[Room] = [
        KeyEndpoints(keys, forms, maker, rules, settings),
        UserEndpoints(PostgresUsers(database), memberships, maker, users, hash_password=hash_password),
        AuditEndpoints(PostgresAuditLog(database)),
        *others,
    ]
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


def _key_settings(litellm: LitellmSettings, calendar: Calendar) -> KeySettings:
    return KeySettings(
        defaults=_typed("default_key_generate_params", litellm.default_key_generate_params, KeyFields),
        upper=_typed("upperbound_key_generate_params", litellm.upperbound_key_generate_params, UpperBounds),
        generation=_typed("key_generation_settings", litellm.key_generation_settings, GenerationSettings),
        calendar=calendar,
    )


def _user_settings(litellm: LitellmSettings, calendar: Calendar) -> UserSettings:
    budget = litellm.max_internal_user_budget_nano_usd
    return UserSettings(
        defaults=_typed("default_internal_user_params", litellm.default_internal_user_params, NewUser),
        budget=None if budget is None else usd_float(budget),
        budget_duration=litellm.internal_user_budget_duration,
        calendar=calendar,
    )


def _typed(name: str, value: Mapping[str, object], kind: type[T]) -> T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{error}", path=f"litellm_settings.{name}") from error

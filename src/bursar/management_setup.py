"""The management API and its rooms, made and wired. Part of the composition."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from bursar.access.keys import LitellmKeyForms
from bursar.access.passwords import hash_password, password_fits
from bursar.access.session_tokens import SessionTokens
from bursar.config.master_key import is_weak
from bursar.config.schema import Config, LitellmSettings
from bursar.domain.client_address import Network
from bursar.domain.errors import ConfigError
from bursar.domain.money import usd_float
from bursar.domain.periods import Calendar
from bursar.domain.secrets import Secret
from bursar.gateway.own_routes import OWN_ROUTES
from bursar.management.activity import ActivityEndpoints
from bursar.management.api import ManagementApi
from bursar.management.audit import AuditEndpoints
from bursar.management.budgets import BudgetEndpoints
from bursar.management.cache import CacheEndpoints
from bursar.management.credentials import CredentialEndpoints
from bursar.management.customers import CustomerEndpoints
from bursar.management.documentation import Documentation
from bursar.management.key_fields import KeyFields
from bursar.management.key_making import KeyMaker
from bursar.management.key_rules import GenerationSettings, KeyRules, KeySettings, UpperBounds
from bursar.management.keys import KeyEndpoints
from bursar.management.login import Attempts, ConsoleLogin, LoginEndpoints
from bursar.management.model_info import ModelInfoEndpoints
from bursar.management.models import ModelEndpoints
from bursar.management.organizations import OrganizationEndpoints
from bursar.management.route import Room
from bursar.management.settings import SettingEndpoints
from bursar.management.spend_calculate import SpendCalculateEndpoints
from bursar.management.spend_logs import SpendLogEndpoints
from bursar.management.spend_totals import SpendTotalEndpoints
from bursar.management.tag_usage import TagUsageEndpoints
from bursar.management.tags import TagEndpoints
from bursar.management.team_members import TeamMemberEndpoints
from bursar.management.team_views import TeamViews
from bursar.management.teams import TeamEndpoints
from bursar.management.tools import ToolEndpoints
from bursar.management.users import NewUser, UserEndpoints, UserSettings
from bursar.ports.models import CostQuotes, ModelCatalogue, SecretVault
from bursar.ports.users import Authenticator
from bursar.store.activity import PostgresActivity
from bursar.store.audit_log import PostgresAuditLog
from bursar.store.budget_table import PostgresBudgetRows
from bursar.store.credentials import PostgresCredentials
from bursar.store.customers import PostgresCustomers
from bursar.store.database import Database
from bursar.store.keys import PostgresKeys
from bursar.store.logins import PostgresLogins
from bursar.store.memberships import PostgresMemberships
from bursar.store.models import PostgresModels
from bursar.store.organizations import PostgresOrganizations
from bursar.store.reports import PostgresReportNames, ReportReader
from bursar.store.settings import PostgresSettings
from bursar.store.spend_logs import PostgresSpendLogs
from bursar.store.spend_reset import PostgresSpendReset
from bursar.store.spend_totals import PostgresSpendTotals
from bursar.store.tags import PostgresTags
from bursar.store.team_members import PostgresTeamMembers
from bursar.store.teams import PostgresTeams
from bursar.store.users import PostgresUsers

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(slots=True, frozen=True)
class LoginParts:
    """How people log in."""

    console: ConsoleLogin
    session_key: bytes = field(repr=False)
    """Signs session tokens, and nothing else."""
    trusted_proxies: Sequence[Network]
    """Whose `X-Forwarded-For` is believed."""
    secure: bool
    """Clients reach us by TLS alone."""


def console_login(environ: Mapping[str, str], master_key: str | None) -> ConsoleLogin:
    """UI_USERNAME and UI_PASSWORD; without them `admin` and the master key."""
    password = environ.get("UI_PASSWORD") or master_key
    if password is not None and is_weak(Secret(password)):
        log.warning("login.weak_password: UI_PASSWORD, or the master key in its place, can be guessed")
    return ConsoleLogin(environ.get("UI_USERNAME") or "admin", None if password is None else Secret(password))


def model_rooms(database: Database, catalogue: ModelCatalogue, vault: SecretVault) -> list[Room]:
    """The rooms of what is on offer, and of how the gateway is set up."""
    models = PostgresModels(database)
    return [
        ModelInfoEndpoints(catalogue),
        ModelEndpoints(models, catalogue, vault),
        CredentialEndpoints(PostgresCredentials(database), models, catalogue, vault),
        SettingEndpoints(PostgresSettings(database), catalogue, vault),
        CacheEndpoints(),
        ToolEndpoints(catalogue),
    ]


def login_room(database: Database, forms: LitellmKeyForms, login: LoginParts) -> Room:
    """Where people log in."""
    return LoginEndpoints(
        PostgresLogins(database),
        forms,
        SessionTokens(login.session_key),
        console=login.console,
        password_fits=password_fits,
        attempts=Attempts(time.monotonic),
        trusted_proxies=login.trusted_proxies,
        secure=login.secure,
    )


def management_rooms(
    database: Database,
    keys: PostgresKeys,
    forms: LitellmKeyForms,
    config: Config,
    calendar: Calendar,
    others: Sequence[Room],
    *,
    master_key: Secret | None,
) -> list[Room]:
    """All rooms, and the page that documents them. `others`: those made by the functions below; `master_key`: what no
    virtual key may be.

    Raises ConfigError: a setting does not fit.
    """
    settings = _key_settings(config.litellm, calendar)
    memberships = PostgresMemberships(database)
    rules = KeyRules(settings)
    maker = KeyMaker(forms, rules, settings, master_key=master_key)
    users = _user_settings(config.litellm, calendar)
    rooms: list[Room] = [
        KeyEndpoints(keys, forms, maker, rules, settings),
        UserEndpoints(PostgresUsers(database, calendar), memberships, maker, users, hash_password=hash_password),
        AuditEndpoints(PostgresAuditLog(database)),
        *others,
    ]
    return [*rooms, Documentation(rooms, OWN_ROUTES)]


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
        TagUsageEndpoints(PostgresSpendTotals(reader)),
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

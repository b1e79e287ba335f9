"""Sections to one `Config`: what may stand in several places is brought together, and what cannot be meant is said."""

from collections.abc import Callable, Mapping

import msgspec

from bursar.config.default import stores_models
from bursar.config.deployments import read_credentials, read_deployments
from bursar.config.findings import Place, Report
from bursar.config.keys import (
    BURSAR_SETTINGS,
    CACHE_PARAMS,
    GENERAL_SETTINGS,
    LITELLM_SETTINGS,
    ROUTER_SETTINGS,
    ROUTING_STRATEGY_ARGS,
    Section,
)
from bursar.config.master_key import is_weak
from bursar.config.merge import Merged
from bursar.config.references import check_references
from bursar.config.schema import (
    MIB,
    BursarSettings,
    CacheParams,
    Config,
    FallbackRule,
    GeneralSettings,
    LitellmSettings,
    RouterSettings,
    RoutingStrategyArgs,
)
from bursar.config.sections import Fields, Located, close_key, located, read_section
from bursar.domain.money import usd_text

_NESTED: Mapping[str, tuple[Section, type[RoutingStrategyArgs] | type[CacheParams]]] = {
    "routing_strategy_args": (ROUTING_STRATEGY_ARGS, RoutingStrategyArgs),
    "cache_params": (CACHE_PARAMS, CacheParams),
}


def assemble(merged: Merged, environ: Mapping[str, str], report: Report, *, file: str) -> Config:
    """The configuration of the joined files, whose first is called `file`.

    Raises ConfigError with all mistakes, those already in `report` included.
    """
    credentials = read_credentials(merged.lists.get("credential_list", []), report)
    deployments = read_deployments(merged.lists.get("model_list", []), credentials, report)
    litellm = _read(LITELLM_SETTINGS, merged, report)
    general = _read(GENERAL_SETTINGS, merged, report)
    router = _read(ROUTER_SETTINGS, merged, report)
    bursar = _read_own(merged, report)
    report.raise_errors()
    for others in (general, litellm):
        take_routing(router, others)
    join_fallbacks(router)
    _carry_over(general, litellm, bursar)
    _store_models_by_environment(general, environ)
    config = Config(
        deployments=deployments,
        credentials=tuple(named.credential for named in credentials.values()),
        router=msgspec.convert(router, RouterSettings),
        litellm=msgspec.convert(litellm, LitellmSettings),
        general=msgspec.convert(general, GeneralSettings),
        bursar=msgspec.convert(bursar, BursarSettings),
    )
    check_references(config, merged, report)
    _warn_of_traps(config, merged, report, file=file)
    return config


def _read(section: Section, merged: Merged, report: Report) -> Fields:
    return read_settings(section, merged.mapping(section.name), report)


def read_settings(
    section: Section,
    entries: Mapping[str, Located],
    report: Report,
    *,
    unknown: Callable[[str, Located], None] | None = None,
) -> Fields:
    """A section's fields, those that are sections themselves included; the rest as in `read_section`."""
    fields = read_section(section, entries, report, unknown=unknown)
    for name, (inner, record) in _NESTED.items():
        if name in fields:
            fields[name] = _read_nested(inner, record, entries[name], report)
    return fields


def _read_nested(
    section: Section, record: type[RoutingStrategyArgs] | type[CacheParams], entry: Located, report: Report
) -> RoutingStrategyArgs | CacheParams:
    assert isinstance(entry.value, dict)
    return msgspec.convert(read_section(section, located(entry.value, entry.place), report), record)


def _read_own(merged: Merged, report: Report) -> Fields:
    """`bursar_settings`: nobody else's, so an unknown key can only be a slip."""

    def refuse(name: str, entry: Located) -> None:
        hint = close_key(BURSAR_SETTINGS, name)
        cure = f"did you mean {hint}?" if hint else f"the keys are {', '.join(BURSAR_SETTINGS.keys)}"
        report.error(entry.place, f"unknown key; {cure}")

    return read_section(BURSAR_SETTINGS, merged.mapping("bursar_settings"), report, unknown=refuse)


def take_routing(router: Fields, fields: Fields) -> None:
    """Bring to `router` what another section says for it. Its own word wins, for aliases name by name."""
    for name in [name for name in fields if name.startswith("router.")]:
        value = fields.pop(name)
        own = router.setdefault(name.removeprefix("router."), value)
        if isinstance(own, dict) and isinstance(value, dict):
            router[name.removeprefix("router.")] = value | own


def join_fallbacks(router: Fields) -> None:
    """Make of `default_fallbacks` the rule for `*`, unless there is one."""
    targets = router.pop("default_fallbacks", ())
    rules = router.get("fallbacks", ())
    assert isinstance(targets, tuple)
    assert isinstance(rules, tuple)
    if targets and not any(rule.group == "*" for rule in rules):
        router["fallbacks"] = (*rules, FallbackRule(group="*", targets=targets))


def _carry_over(general: Fields, litellm: Fields, bursar: Fields) -> None:
    """Fill settings of Bursar's own from LiteLLM's keys for the same thing; its own keys win."""
    for own, theirs in (("max_request_bytes", "max_request_size_mb"), ("max_response_bytes", "max_response_size_mb")):
        size = general.get(theirs)
        if isinstance(size, float) and size > 0:
            bursar.setdefault(own, max(1, int(size * MIB)))
    if litellm.get("block_requests_for_models_without_pricing"):
        bursar.setdefault("unknown_price", "refuse")


def _store_models_by_environment(general: Fields, environ: Mapping[str, str]) -> None:
    general.setdefault("store_model_in_db", stores_models(environ))


def _warn_of_traps(config: Config, merged: Merged, report: Report, *, file: str) -> None:
    """Say what is often meant otherwise."""
    budget = config.litellm.max_budget_nano_usd
    if budget is not None:
        report.warn(
            merged.mapping("litellm_settings")["max_budget"].place,
            f"global budget: it caps the whole gateway at ${usd_text(budget)}, not each user; for users there are "
            "max_internal_user_budget and max_end_user_budget",
        )
    key = config.general.master_key
    if key is not None and is_weak(key) and not config.general.dangerously_permit_weak_or_unset_master_key:
        report.warn(
            merged.mapping("general_settings")["master_key"].place,
            "can be guessed, so the gateway starts with it on a loopback address only; "
            "make one with: python3 -c \"import secrets; print('sk-' + secrets.token_urlsafe(24))\"",
        )
    if not config.deployments:
        report.warn(Place(file), "has no model_list, so there is no model to call")

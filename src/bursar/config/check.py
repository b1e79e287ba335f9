"""`bursar check`: what was understood of a configuration, in plain text."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from bursar.config.findings import Finding
from bursar.config.load import LoadedConfig
from bursar.config.schema import BursarSettings, Config, DeploymentConfig, FallbackRule, ModelAlias
from bursar.domain.errors import ConfigError
from bursar.domain.money import usd_text

_BY_NAME = "priced by the name that is asked for"


class FindPrice(Protocol):
    """The price book, as far as `check` needs it."""

    def __call__(self, deployment: DeploymentConfig) -> str | None:
        """One line on the price of `deployment`, or None when there is none. Raises ConfigError: it cannot be used."""


class ProviderFacts(Protocol):
    """What `check` tells of a provider."""

    @property
    def name(self) -> str: ...

    @property
    def key_variables(self) -> tuple[str, ...]: ...

    @property
    def key_optional(self) -> bool: ...

    @property
    def built(self) -> bool: ...


class ResolveProvider(Protocol):
    """The providers, as far as `check` needs them."""

    def __call__(self, deployment: DeploymentConfig) -> ProviderFacts:
        """Whose model it is. Raises ConfigError: none is known for this model, or it cannot be called."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What to print, and whether the gateway could run with it."""

    text: str
    ok: bool


@dataclass(frozen=True, slots=True)
class _Examined:
    """One deployment and what the other rooms say of it."""

    deployment: DeploymentConfig
    provider: ProviderFacts | None
    price: str | None
    problems: tuple[str, ...]
    key: str


def render_check(
    loaded: LoadedConfig, *, find_price: FindPrice, resolve_provider: ResolveProvider, environ: Mapping[str, str]
) -> CheckReport:
    """Explain `loaded`: groups, aliases, prices, keys, warnings, settings without effect. No secret is shown.

    Not ok when a deployment cannot be called or its price cannot be used; warnings alone are.
    """
    config = loaded.config
    examined = [_examine(deployment, find_price, resolve_provider, environ) for deployment in config.deployments]
    sections = [
        [_summary(loaded)],
        _section("Models", _models(examined)),
        _section("Aliases", [*_mapped(config.litellm.model_alias_map), *_aliases(config.router.model_group_alias)]),
        _section("Fallbacks", _fallbacks(config)),
        _section("Without a price", _unpriced(examined, config.bursar)),
        _section("Keys not set", _unset(loaded, examined)),
        _section("For the whole gateway", _gateway_wide(config)),
        _section("Problems", _problems(examined)),
        _section("Warnings", _lines(loaded.warnings)),
        _section("Not active yet", [*_not_built(examined), *_inactive(loaded.inactive)]),
    ]
    ok = not any(one.problems for one in examined)
    verdict = "The configuration can be used." if ok else "The configuration cannot be used as it is."
    text = "\n\n".join("\n".join(lines) for lines in [*sections, [verdict]] if lines)
    return CheckReport(text + "\n", ok)


def _examine(
    deployment: DeploymentConfig,
    find_price: FindPrice,
    resolve_provider: ResolveProvider,
    environ: Mapping[str, str],
) -> _Examined:
    provider = price = None
    problems = []
    if deployment.model == "*":
        return _Examined(deployment, None, _BY_NAME, (), "key by provider")
    try:
        provider = resolve_provider(deployment)
    except ConfigError as error:
        problems.append(str(error))
    try:
        price = _BY_NAME if "*" in deployment.model else find_price(deployment)
    except ConfigError as error:
        problems.append(str(error))
    return _Examined(deployment, provider, price, tuple(problems), _key_state(deployment, provider, environ))


def _key_state(deployment: DeploymentConfig, provider: ProviderFacts | None, environ: Mapping[str, str]) -> str:
    """How the deployment gets its key; begins with "no key" where it gets none and probably needs one."""
    if deployment.built_in_demo:
        return "needs no key"
    if deployment.api_key is not None or deployment.provider_auth:
        return "key set"
    if provider is None or provider.key_optional:
        return "key not set"
    found = next((name for name in provider.key_variables if environ.get(name)), None)
    if found is not None:
        return f"key from {found}"
    own_server = ", unless its server asks for none" if deployment.api_base else ""
    return f"no key: set {' or '.join(('api_key', *provider.key_variables))}{own_server}"


def _summary(loaded: LoadedConfig) -> str:
    deployments = loaded.config.deployments
    source = ", ".join(str(file) for file in loaded.files) or "No config file, so the defaults"
    return (
        f"{source}: {_number(len(deployments), 'deployment')} in {_number(len(loaded.config.groups()), 'model group')}"
    )


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _section(title: str, lines: Iterable[str]) -> list[str]:
    indented = [f"  {line}" for line in lines]
    return [title, *indented] if indented else []


def _models(examined: list[_Examined]) -> Iterator[str]:
    groups: dict[str, list[_Examined]] = {}
    for one in examined:
        groups.setdefault(one.deployment.model_name, []).append(one)
    for name, members in groups.items():
        yield name
        for one in members:
            yield f"  {one.deployment.model}: {'; '.join(_facts(one))}"


def _facts(one: _Examined) -> Iterator[str]:
    deployment = one.deployment
    yield ("built-in demo" if deployment.built_in_demo else f"provider {_provider_name(one)}")
    if deployment.api_base:
        # Only where it is: a path or query may carry a credential.
        yield f"at {urlsplit(deployment.api_base).netloc}"
    yield one.key.partition(":")[0]
    yield one.price or "no price"
    limits = (("weight", deployment.weight), ("rpm", deployment.rpm), ("tpm", deployment.tpm))
    yield from (f"{name} {value:g}" for name, value in limits if value is not None)
    yield f"id {deployment.id[:12]}{'…' if len(deployment.id) > 12 else ''}"


def _provider_name(one: _Examined) -> str:
    if one.provider is not None:
        return one.provider.name
    return "by the name that is asked for" if one.deployment.model == "*" else "unknown"


def _mapped(names: Mapping[str, str]) -> Iterator[str]:
    for name, target in names.items():
        yield f"{name} → {target} (hidden)"


def _aliases(aliases: Mapping[str, ModelAlias]) -> Iterator[str]:
    for name, alias in aliases.items():
        yield f"{name} → {', then '.join(alias.targets)}{' (hidden)' if alias.hidden else ''}"


def _fallbacks(config: Config) -> Iterator[str]:
    kinds: tuple[tuple[str, tuple[FallbackRule, ...]], ...] = (
        ("", config.router.fallbacks),
        ("context too long: ", config.router.context_window_fallbacks),
        ("content refused: ", config.router.content_policy_fallbacks),
    )
    for when, rules in kinds:
        for rule in rules:
            group = "every other group" if rule.group == "*" else rule.group
            yield f"{when}{group} → {', then '.join(target.model for target in rule.targets)}"


def _unpriced(examined: list[_Examined], bursar: BursarSettings) -> Iterator[str]:
    unpriced = [one.deployment for one in examined if one.price is None and not one.problems]
    yield from (f"{deployment.model_name}: {deployment.model}" for deployment in unpriced)
    if not unpriced:
        return
    if bursar.unknown_price == "refuse":
        yield "Calls to them are refused."
    else:
        yield (
            "Calls to them are served, and booked with an unknown cost; bursar_settings.unknown_price: refuse turns "
            "them away."
        )
    yield "Set input_cost_per_token and output_cost_per_token, or model_info.base_model."


def _unset(loaded: LoadedConfig, examined: list[_Examined]) -> Iterator[str]:
    for place, variable in loaded.unset:
        yield f"{place}: {variable}"
    for one in examined:
        if one.key.startswith("no key"):
            yield f"{one.deployment.model_name}: {one.deployment.model}: {one.key}"


def _gateway_wide(config: Config) -> Iterator[str]:
    litellm = config.litellm
    if litellm.rpm is not None:
        yield f"litellm_settings.rpm: {litellm.rpm} requests a minute, over all keys and models"
    if litellm.tpm is not None:
        yield f"litellm_settings.tpm: {litellm.tpm} tokens a minute, over all keys and models"
    if litellm.max_budget_nano_usd is not None:
        period = f" per {litellm.budget_duration}" if litellm.budget_duration else ""
        yield f"litellm_settings.max_budget: ${usd_text(litellm.max_budget_nano_usd)}{period}, over all keys and users"


def _problems(examined: list[_Examined]) -> Iterator[str]:
    for one in examined:
        for problem in one.problems:
            yield f"{one.deployment.model_name}: {one.deployment.model}: {problem}"


def _not_built(examined: list[_Examined]) -> Iterator[str]:
    for one in examined:
        if one.provider is not None and not one.provider.built:
            name, model = one.deployment.model_name, one.deployment.model
            yield f"{name}: {model}: the provider {one.provider.name} cannot be called; calls to it answer 501"


def _lines(findings: Iterable[Finding]) -> Iterator[str]:
    return (str(finding) for finding in findings)


def _inactive(findings: Iterable[Finding]) -> Iterator[str]:
    return (f"{finding.place}: {finding.text.removeprefix('not active yet: ')}" for finding in findings)

"""From configured deployments to the models on offer: provider, address and price of each. Part of the composition."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from bursar.config.schema import DEFAULT_REQUEST_TIMEOUT_S, Config, DeploymentConfig
from bursar.domain.egress import Egress
from bursar.domain.errors import ConfigError
from bursar.domain.limits import Budget, Limits, Scope, ScopeKind
from bursar.domain.money import NANO_PER_USD, UNITS_PER_RATE
from bursar.domain.price_book import PriceBook
from bursar.domain.prices import Price, overlay
from bursar.domain.routing import wildcard_target
from bursar.gateway.models import Alias, Deployment, Group, ModelTable, Wildcard
from bursar.ports.upstream import Timeouts
from bursar.providers.catalogue import Resolved, resolve
from bursar.providers.chat_parameters import chat_parameters
from bursar.providers.chat_upstream import ProviderChat
from bursar.providers.openai_compatible import OpenAICompatible, Settings
from bursar.providers.upstream import build_upstream, check_address

_FIRST_PARTIES = ("openai", "anthropic", "vertex_ai", "mistral", "cohere", "xai", "deepseek")
"""Whose bare model names may stand without a prefix, in this order."""


class BookPrice:
    """The price of one deployment: the book's, with the operator's laid over it. Implements `models.PriceSource`."""

    def __init__(self, book: PriceBook, provider: str, model: str, config: DeploymentConfig) -> None:
        self._book = book
        self._provider = provider
        self._model = model
        self._overrides = config.prices
        self._base_model = config.model_info.base_model
        self._price: Price | None = None
        self._until_s = 0.0

    def at(self, unix_s: float) -> Price | None:
        """See `models.PriceSource`. Raises ConfigError: the operator's price cannot be used."""
        if unix_s >= self._until_s:
            moment = datetime.fromtimestamp(unix_s, UTC)
            quote = self._book.find(self._provider, self._model, at=moment, base_model=self._base_model)
            base = None if quote is None else quote.price
            self._price = overlay(base, self._overrides) if self._overrides else base
            until = None if quote is None else quote.valid_until
            self._until_s = float("inf") if until is None else until.timestamp()
        return self._price


@dataclass(slots=True, frozen=True)
class Built:
    """A model with all that serves it."""

    config: DeploymentConfig
    deployment: Deployment | None
    """None: a wildcard, whose deployments are made when names are asked for."""


class ModelBuilder:
    """Makes deployments from their configuration."""

    def __init__(self, config: Config, book: PriceBook, environ: Mapping[str, str], *, demo_base: str | None) -> None:
        """`demo_base`: where the built-in demo's upstream listens."""
        self._config = config
        self._book = book
        self._environ = environ
        self._demo_base = demo_base

    def of_file(self) -> list[Built]:
        """The configured models. Raises ConfigError naming the deployment that cannot be used."""
        built = []
        for index, config in enumerate(self._config.deployments):
            try:
                built.append(self.build(config))
            except ConfigError as error:
                raise ConfigError(str(error), path=f"model_list[{index}] ({config.model_name})") from error
        return built

    def build(self, config: DeploymentConfig) -> Built:
        """What a table takes. Raises ConfigError."""
        if config.api_base is not None and config.stored:  # of wildcards nothing else is looked at before they are used
            check_address(config.api_base, self._egress(config))
        return Built(config, None if "*" in config.model_name else self.deployment(config))

    def table(self, built: Iterable[Built]) -> ModelTable:
        """All models that were built."""
        plain: defaultdict[str, list[Deployment]] = defaultdict(list)
        patterns: defaultdict[str, list[DeploymentConfig]] = defaultdict(list)
        for one in built:
            if one.deployment is None:
                patterns[one.config.model_name].append(one.config)
            else:
                plain[one.config.model_name].append(one.deployment)
        aliases = {
            name: Alias(alias.targets[0], alias.hidden) for name, alias in self._config.router.model_group_alias.items()
        }
        return ModelTable(
            [Group(name, tuple(deployments)) for name, deployments in plain.items()],
            aliases=aliases,
            wildcards=[self._wildcard(pattern, configs) for pattern, configs in patterns.items()],
            meant=self._config.litellm.model_alias_map,
            provider_of=self._provider_of,
        )

    def resolve(self, config: DeploymentConfig) -> Resolved:
        """Whose model it is. Raises ConfigError."""
        return resolve(
            config.model,
            custom_llm_provider=config.custom_llm_provider,
            api_base=config.api_base,
            is_known_model=self._provider_of,
        )

    def price_source(self, config: DeploymentConfig) -> BookPrice:
        """What it costs. Raises ConfigError: its provider is not known."""
        resolved = self.resolve(config)
        return BookPrice(self._book, resolved.provider.name, resolved.upstream_model, config)

    def listed_price(self, model: str, unix_s: float) -> Price | None:
        """The book's price of a model by its provider's name for it; None: it has none, or knows no such model."""
        try:
            resolved = resolve(model, custom_llm_provider=None, api_base=None, is_known_model=self._provider_of)
        except ConfigError:
            return None
        quote = self._book.find(resolved.provider.name, resolved.upstream_model, at=datetime.fromtimestamp(unix_s, UTC))
        return None if quote is None else quote.price

    def deployment(self, config: DeploymentConfig) -> Deployment:
        """One deployment. Raises ConfigError."""
        resolved = self.resolve(config)
        provider = resolved.provider.name
        total_s, stream_s = self._timeouts(config)
        prices = BookPrice(self._book, provider, resolved.upstream_model, config)
        prices.at(datetime.now(UTC).timestamp())  # a price that cannot be used is told at start
        return Deployment(
            id=config.id,
            group=config.model_name,
            provider=provider,
            upstream_model=resolved.upstream_model,
            upstream=self._upstream(config, resolved) if resolved.provider.built else None,
            prices=prices,
            timeouts=self._limits(total_s),
            stream_timeouts=self._limits(stream_s),
            limits=self._limits_of(config),
            weight=config.weight,
            rpm=config.rpm,
            tpm=config.tpm,
            blocked=config.blocked,
            access_groups=config.model_info.access_groups,
            info=self._info(config, provider, resolved.upstream_model),
        )

    def _limits_of(self, config: DeploymentConfig) -> Limits | None:
        """What it may be asked for. `rpm` and `tpm` are weights, as for LiteLLM, unless a setting makes them limits."""
        router = self._config.router
        enforced = "enforce_model_rate_limits" in router.optional_pre_call_checks
        amount = config.max_budget_nano_usd
        limits = Limits(
            scope=Scope(ScopeKind.DEPLOYMENT, config.id),
            budget=None if amount is None else Budget(amount, config.budget_duration),
            requests_per_minute=config.rpm if enforced else None,
            tokens_per_minute=config.tpm if enforced else None,
            parallel_calls=config.max_parallel_requests or router.default_max_parallel_requests,
        )
        return limits if limits.limiting else None

    def _upstream(self, config: DeploymentConfig, resolved: Resolved) -> ProviderChat:
        litellm = self._config.litellm
        # The process's own keys are for the providers' addresses, or where the file sends them: no row of the database
        # has them sent elsewhere.
        environ = {} if config.stored and config.api_base is not None else self._environ
        upstream = build_upstream(
            resolved,
            environ=environ,
            api_key="no key needed" if config.built_in_demo else _revealed(config),
            api_base=self._demo_base if config.built_in_demo else config.api_base,
            organization=config.organization,
            extra_headers={name: value.reveal() for name, value in config.extra_headers.items()},
            egress=self._egress(config),
        )
        defaults = {**config.extra_params, **config.extra_body}
        settings = Settings(
            drop_params=litellm.drop_params if config.drop_params is None else config.drop_params,
            additional_drop_params=config.additional_drop_params,
            allowed_openai_params=config.allowed_openai_params,
            defaults={name: msgspec.Raw(msgspec.json.encode(value)) for name, value in defaults.items()} or None,
            supports_vision=config.model_info.supports.get("vision"),
            asks_usage=False if self._config.general.always_include_stream_usage is False else None,
        )
        return ProviderChat(OpenAICompatible(upstream, settings), mock_response=config.mock_response)

    def _egress(self, config: DeploymentConfig) -> Egress:
        """The file may name any address; whoever stores models may not."""
        if not config.stored:
            return Egress.ANY
        return Egress.NO_METADATA if self._config.bursar.stored_models_private_addresses else Egress.PUBLIC

    def _wildcard(self, pattern: str, configs: Sequence[DeploymentConfig]) -> Wildcard:
        def make(name: str) -> tuple[Deployment, ...]:
            return tuple(
                self.deployment(
                    msgspec.structs.replace(config, model_name=name, model=wildcard_target(pattern, name, config.model))
                )
                for config in configs
            )

        groups = {group: None for config in configs for group in config.model_info.access_groups}
        return Wildcard(pattern, make, tuple(groups), self._known_names(pattern, configs[0]))

    def _known_names(self, pattern: str, config: DeploymentConfig) -> tuple[str, ...]:
        """What a wildcard over one provider's models stands for in the list of models."""
        provider, slash, rest = config.model.partition("/")
        if not slash or rest != "*" or pattern.count("*") != 1:
            return ()
        return tuple(pattern.replace("*", model) for model in self._book.models_of(provider))

    def _timeouts(self, config: DeploymentConfig) -> tuple[float, float]:
        """Seconds for an attempt, not streamed and streamed: the most particular setting wins."""
        router, litellm = self._config.router, self._config.litellm
        total = config.timeout_s or router.timeout_s or litellm.request_timeout_s or DEFAULT_REQUEST_TIMEOUT_S
        return total, config.stream_timeout_s or router.stream_timeout_s or total

    def _limits(self, total_s: float) -> Timeouts:
        own = self._config.bursar
        return Timeouts(
            connect_s=min(own.upstream_connect_timeout_s, total_s),
            response_s=total_s,
            idle_s=min(own.upstream_idle_timeout_s, total_s),
        )

    def _info(self, config: DeploymentConfig, provider: str, model: str) -> Mapping[str, object]:
        entry = self._book.entry(provider, model, base_model=config.model_info.base_model)
        own = config.model_info
        return {
            "mode": own.mode or (entry.mode if entry is not None else None),
            "max_input_tokens": own.max_input_tokens or (entry.max_input_tokens if entry is not None else None),
            "max_output_tokens": own.max_output_tokens or (entry.max_output_tokens if entry is not None else None),
        }

    def known(self, config: DeploymentConfig, deployment: Deployment) -> dict[str, object]:
        """What `/model/info` tells of a model beside what its entry says, by the names of LiteLLM's price map."""
        entry = self._book.entry(
            deployment.provider, deployment.upstream_model, base_model=config.model_info.base_model
        )
        price = deployment.prices.at(datetime.now(UTC).timestamp())
        known: dict[str, object] = {"litellm_provider": deployment.provider, "mode": deployment.info.get("mode")}
        for name in ("max_input_tokens", "max_output_tokens"):
            known[name] = deployment.info.get(name)
        known["max_tokens"] = known["max_output_tokens"]
        known |= {"rpm": deployment.rpm, "tpm": deployment.tpm}
        if price is not None:
            rates = price.rates
            known |= {
                "input_cost_per_token": _usd(rates.prompt),
                "output_cost_per_token": _usd(rates.completion),
                "cache_read_input_token_cost": _usd(rates.cached_prompt),
                "cache_creation_input_token_cost": _usd(rates.cache_write_5m),
            }
        if entry is not None:
            known["key"] = entry.key
        said = (*(() if entry is None else entry.supports.items()), *config.model_info.supports.items())
        supports = {_supports(name): can for name, can in said}
        if isinstance(deployment.upstream, ProviderChat) and known["mode"] in (None, "chat"):
            known["supported_openai_params"] = chat_parameters(deployment.upstream.refused, supports)
        return known | supports

    def _provider_of(self, model: str) -> str | None:
        return next((name for name in _FIRST_PARTIES if self._book.entry(name, model) is not None), None)


def _usd(rate: int) -> float:
    """US dollars for one token."""
    return rate / (NANO_PER_USD * UNITS_PER_RATE)


def _supports(name: str) -> str:
    return name if name.startswith("supports_") else f"supports_{name}"


def _revealed(config: DeploymentConfig) -> str | None:
    return None if config.api_key is None else config.api_key.reveal()

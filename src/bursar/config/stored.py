"""What the database adds to the file: models, credentials and settings, read as the file's own are."""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from bursar.config.assemble import join_fallbacks, read_settings, take_routing
from bursar.config.deployments import NamedCredential, read_credentials, read_deployments
from bursar.config.environment import resolve
from bursar.config.findings import Finding, Place, Report
from bursar.config.keys import LITELLM_PARAMS, LITELLM_SETTINGS, REQUEST_PARAMS, ROUTER_SETTINGS
from bursar.config.price_keys import is_price_key, price_key_names
from bursar.config.schema import Config, Credential, DeploymentConfig, Record, RouterSettings
from bursar.config.sections import Fields, Located, located
from bursar.domain.errors import ConfigError
from bursar.domain.misspellings import slip_among

_OURS = frozenset(
    {
        *("LITELLM_MASTER_KEY", "LITELLM_SALT_KEY", "LITELLM_SALT_KEY_OLD", "UI_USERNAME", "UI_PASSWORD"),
        *("DATABASE_URL", "DIRECT_URL", "REDIS_URL", "REDIS_PASSWORD"),
    }
)
"""Variables that are no provider's: whoever may only add models must not have them sent to where he likes."""

_DATABASE = "the database"
_SECTIONS = {section.name: section for section in (LITELLM_SETTINGS, ROUTER_SETTINGS)}
_Settings = TypeVar("_Settings", bound=Record)


def file_credentials(config: Config) -> dict[str, NamedCredential]:
    """The file's credentials, for models of the database that name them."""
    return {name: read for credential in config.credentials for name, read in _read(_entry(credential)).items()}


def stored_credential(name: str, values: Mapping[str, object], environ: Mapping[str, str]) -> NamedCredential:
    """A credential of the database. Raises ConfigError: its values cannot be used."""
    environ = _of_providers(environ)
    return _read({"credential_name": name, "credential_values": dict(values)}, environ)[name]


def stored_deployment(
    entry: Mapping[str, object],
    model_id: str,
    credentials: Mapping[str, NamedCredential],
    environ: Mapping[str, str],
) -> DeploymentConfig:
    """A model of the database, written as an entry of `model_list`, secrets in clear. Raises ConfigError."""
    report = Report(discreet=True)
    place = Place(_DATABASE, "model").key(model_id)
    resolved = resolve(dict(entry), place, _of_providers(environ), report)
    assert isinstance(resolved, dict)
    if report.unset:
        raise ConfigError(f"the environment variable {report.unset[0][1]} is not set", path=str(report.unset[0][0]))
    parameters = resolved.get("litellm_params")
    if isinstance(parameters, dict):
        _check_credential(parameters, credentials, place)
    deployments = read_deployments([Located(resolved, place)], credentials, report)
    report.raise_errors()
    (deployment,) = deployments
    return msgspec.structs.replace(deployment, stored=True)


def check_spelling(parameters: Mapping[str, object]) -> None:
    """Raises ConfigError: a name in `litellm_params` is all but that of a parameter or a price.

    Of models that somebody stores: unknown names go to the provider, and a price that is misspelt is none. Rows of
    LiteLLM's are taken as they are.
    """
    known = (*LITELLM_PARAMS.keys, *REQUEST_PARAMS, *price_key_names())
    unknown = (name for name in parameters if LITELLM_PARAMS.find(name) is None and not is_price_key(name))
    if (slip := slip_among(unknown, known)) is not None:
        raise ConfigError(f"did you mean {slip[1]}?", path=f"litellm_params.{slip[0]}")


def _check_credential(
    parameters: Mapping[str, object], credentials: Mapping[str, NamedCredential], place: Place
) -> None:
    """A credential's secrets go where the credential says, and nowhere else that whoever names it may choose."""
    name = parameters.get("litellm_credential_name")
    if name is None:
        return
    if (named := credentials.get(str(name))) is None:
        raise ConfigError(f"there is no credential {name!r}", path=str(place))
    address = parameters.get("api_base") or parameters.get("base_url")
    if address is not None and address != named.fields.get("api_base"):
        raise ConfigError(
            f"the secrets of the credential {name!r} are not sent to an address that the credential does not name: "
            "put the same api_base into its credential_values",
            path=str(place),
        )


def with_settings(config: Config, section: str, settings: Mapping[str, object]) -> tuple[Config, list[Finding]]:
    """The configuration with `settings` over what it has of `section`, one of `SETTING_SECTIONS`; and what is worth
    telling of them, as a file's. Raises ConfigError."""
    report = Report(discreet=True)
    place = Place(_DATABASE, section)
    fields = read_settings(_SECTIONS[section], located(settings, place), report)
    report.raise_errors()
    router = fields if section == ROUTER_SETTINGS.name else Fields()
    litellm = fields if section == LITELLM_SETTINGS.name else Fields()
    take_routing(router, litellm)
    _keep_rules(router, config.router)
    join_fallbacks(router)
    return (
        msgspec.structs.replace(
            config, litellm=_replaced(config.litellm, litellm, place), router=_replaced(config.router, router, place)
        ),
        [*report.warnings, *report.inactive],
    )


def _keep_rules(router: Fields, before: RouterSettings) -> None:
    """`fallbacks` and `default_fallbacks` are two settings and one field: who states one leaves the other alone."""
    if "default_fallbacks" in router:
        router.setdefault("fallbacks", tuple(rule for rule in before.fallbacks if rule.group != "*"))
    elif isinstance(rules := router.get("fallbacks"), tuple) and all(rule.group != "*" for rule in rules):
        router["fallbacks"] = (*rules, *(rule for rule in before.fallbacks if rule.group == "*"))


def _replaced(record: _Settings, fields: Fields, place: Place) -> _Settings:
    """Raises ConfigError: values that do not go together."""
    try:
        given = msgspec.convert(fields, type(record))
    except msgspec.ValidationError as error:
        raise ConfigError(str(error), path=str(place)) from error
    return msgspec.structs.replace(record, **{name: getattr(given, name) for name in fields})


def _entry(credential: Credential) -> dict[str, object]:
    values = {name: value.reveal() for name, value in credential.values.items()}
    return {"credential_name": credential.name, "credential_values": values}


def _read(entry: Mapping[str, object], environ: Mapping[str, str] | None = None) -> dict[str, NamedCredential]:
    report = Report(discreet=True)
    place = Place(_DATABASE, "credential").key(str(entry.get("credential_name")))
    value = dict(entry) if environ is None else resolve(dict(entry), place, environ, report)
    read = read_credentials([Located(value, place)], report)
    report.raise_errors()
    return read


def _of_providers(environ: Mapping[str, str]) -> Mapping[str, str]:
    return {name: value for name, value in environ.items() if name not in _OURS and not name.startswith("BURSAR_")}

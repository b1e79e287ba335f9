"""The settings that hold, as the management API tells of them."""

from collections.abc import Mapping

import msgspec

from bursar.config.keys import GENERAL_SETTINGS, LITELLM_SETTINGS, ROUTER_SETTINGS, Key, Section
from bursar.config.schema import Config, Record
from bursar.domain.masking import masked
from bursar.domain.money import NANO_PER_USD
from bursar.domain.secrets import MASK, Secret
from bursar.ports.models import SettingField

_SECTIONS: Mapping[str, Section] = {
    section.name: section for section in (GENERAL_SETTINGS, LITELLM_SETTINGS, ROUTER_SETTINGS)
}


def described_settings(config: Config, section: str) -> list[SettingField]:
    """The settings of `section` that this release reads."""
    record = {"general_settings": config.general, "litellm_settings": config.litellm}.get(section, config.router)
    return [
        SettingField(
            name=key.name,
            kind=key.kind.name,
            description="" if key.room is None else f"Not active yet: {key.room}.",
            value=_value(key, record),
            default=key.default,
        )
        for key in _SECTIONS[section].keys.values()
        if key.kind is not None and key.field in record.__struct_fields__
    ]


def _value(key: Key, record: Record) -> object:
    value = getattr(record, key.field)
    if value is None:
        return None
    if key.field.endswith("_nano_usd"):
        return value / NANO_PER_USD
    return masked(msgspec.to_builtins(value, enc_hook=_concealed), key.name)


def _concealed(value: object) -> str:
    if isinstance(value, Secret):
        return MASK
    raise NotImplementedError  # how msgspec is told that a hook does not know a type

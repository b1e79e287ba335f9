"""A new virtual key, from what is said about it to what is stored."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
from msgspec import UNSET

from bursar.domain.authority import Standing
from bursar.domain.errors import InvalidRequest
from bursar.domain.secrets import Secret
from bursar.management.key_fields import KeyFields, columns_of
from bursar.management.key_rules import KeyRules, KeySettings
from bursar.ports.keys import KeyForms, KeyPlace, KeyRow, NewKey

_OWN_KEY = re.compile(r"sk-[!-~]{13,}")
"""What a header can carry as one word."""


class KeyMaker:
    """Plans keys; storing them is left to others."""

    def __init__(
        self, forms: KeyForms, rules: KeyRules, settings: KeySettings, *, master_key: Secret | None = None
    ) -> None:
        """`master_key`: no virtual key is ever the same."""
        self._forms = forms
        self._rules = rules
        self._settings = settings
        self._master_key = master_key

    def secret(self, own: str | None, *, param: str = "key") -> str:
        """The plain key: the caller's own, or a new one. Raises InvalidRequest."""
        if own is not None and not _OWN_KEY.fullmatch(own):
            raise InvalidRequest(
                "A key of your own must start with 'sk-' and have at least 16 characters, all of them printable ASCII.",
                param=param,
            )
        if own is not None and self._master_key == Secret(own):  # which would live on once there is another one
            raise InvalidRequest("This is the master key, which cannot be a virtual key as well.", param=param)
        return own or self._forms.generate()

    def plan(self, standing: Standing, said: KeyFields, plain: str, *, service: bool = False) -> NewKey:
        """The key as it is to be stored. Raises Forbidden, InvalidRequest: see `KeyRules.new`."""
        wanted = columns_of(self._with_defaults(said), {}, now=datetime.now(UTC), calendar=self._settings.calendar)
        allowed = self._rules.new(standing, wanted, service=service)
        named = {"token": self._forms.hash(plain), "key_name": self._forms.abbreviate(plain)}
        return msgspec.convert({**allowed, **named}, NewKey)

    def check(self, standing: Standing, new: NewKey, place: KeyPlace) -> None:
        """Whether it may be made, now that its place is known. Raises as `KeyRules.check_new`."""
        self._rules.check_new(standing, msgspec.structs.asdict(new), place)

    def _with_defaults(self, said: KeyFields) -> KeyFields:
        """What is not said, is null or an empty list comes from the configuration."""
        defaults = self._settings.defaults
        missing = {
            name: value
            for name in KeyFields.__struct_fields__
            if (value := getattr(defaults, name)) is not UNSET and getattr(said, name) in (UNSET, None, [])
        }
        return msgspec.structs.replace(said, **missing) if missing else said


def made(row: KeyRow, plain: str, budget: Mapping[str, object] | None) -> dict[str, object]:
    """The answer that shows a new key, this once."""
    return {**row, "key": plain, "token_id": row["token"], "litellm_budget_table": budget}


def taken(alias: str | None) -> InvalidRequest:
    """The complaint about an alias that another key has."""
    return InvalidRequest(
        f"Key with alias '{alias}' already exists. Unique key aliases across all keys are required.", param="key_alias"
    )

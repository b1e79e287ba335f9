"""Which values of a stored row are secret, and the place that each is bound to.

Deny by default: in a model's parameters every text is sealed unless its name is known to hold nothing secret. What is
sent to a provider is bound to the address it is sent to as well, so that nobody who may change a row, but may not see
its secrets, can have them sent elsewhere.
"""

import re
from collections.abc import Callable, Mapping

from bursar.domain.errors import InvalidRequest
from bursar.domain.masking import masked
from bursar.domain.secrets import MASK

MODELS = "LiteLLM_ProxyModelTable"
CREDENTIALS = "LiteLLM_CredentialsTable"
SETTINGS = "LiteLLM_Config"

_PUBLIC = frozenset(
    {
        "model",
        "custom_llm_provider",
        "api_version",
        "litellm_credential_name",
        "region_name",
        "aws_region_name",
        "vertex_project",
        "vertex_location",
        "tags",
        "additional_drop_params",
        "allowed_openai_params",
        "budget_duration",
        "base_model",
        "reasoning_effort",
    }
)
_ADDRESSES = ("api_base", "base_url")
_PUBLIC_ADDRESS = re.compile(r"https?://[^/?#@\s]+(/[^?#@\s]*)?")
"""One without a user, a password, or a query that may hold a key."""
_NUMBERED = re.compile(
    r"rpm|tpm|weight|order|max_parallel_requests|max_budget|max_retries|num_retries|cooldown_time|timeout|stream_timeout"
    r"|max_tokens|max_completion_tokens|temperature|top_p|\w*cost_per_\w+|\w+_token_cost\w*"
)
"""Parameters that are numbers, which may stand in text."""
_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*")
_DESTINATION = ("custom_llm_provider", *_ADDRESSES, "aws_sts_endpoint", "aws_bedrock_runtime_endpoint")

Change = Callable[[str, str], str]
"""Another text for a text and its place."""


def is_public(name: str, value: object) -> bool:
    """Whether a parameter may be kept, and shown, as it is."""
    if name in _ADDRESSES:
        return isinstance(value, str) and _PUBLIC_ADDRESS.fullmatch(value) is not None
    if _NUMBERED.fullmatch(name):
        return isinstance(value, str) and _NUMBER.fullmatch(value) is not None
    return name in _PUBLIC


def change_parameters(parameters: Mapping[str, object], row_id: str, change: Change) -> dict[str, object]:
    """A model's parameters with every secret text changed. `parameters` hold the address in clear."""
    where = destination(parameters)
    return {
        name: value
        if is_public(name, value)
        else change_texts(value, _place(MODELS, row_id, name, "" if name in _DESTINATION else where), change)
        for name, value in parameters.items()
    }


def open_parameters(parameters: Mapping[str, object], row_id: str, opened: Change) -> dict[str, object]:
    """Parameters as they were before they were stored; also those that LiteLLM stored, which encrypts all texts."""
    clear = {
        name: change_texts(value, _place(MODELS, row_id, name, ""), opened)
        if name in _DESTINATION or name in _PUBLIC
        else value
        for name, value in parameters.items()
    }
    where = destination(clear)
    return {
        name: value
        if name in _DESTINATION or name in _PUBLIC
        else change_texts(value, _place(MODELS, row_id, name, where), opened)
        for name, value in clear.items()
    }


def destination(parameters: Mapping[str, object]) -> str:
    """Where secrets of a model are sent, as far as its parameters say: its provider and the addresses it names."""
    model = parameters.get("model")
    provider = model.partition("/")[0] if isinstance(model, str) and "/" in model else ""
    return "\x1f".join([provider, *(str(parameters.get(name) or "") for name in _DESTINATION)])


def change_credential(values: Mapping[str, object], name: str, change: Change) -> dict[str, object]:
    """The values of a credential, all of which are secret, changed."""
    return {key: change_texts(value, _place(CREDENTIALS, name, key, ""), change) for key, value in values.items()}


def seal_setting(value: object, section: str, seal: Change, name: str = "") -> object:
    """A section of the configuration with what is, or looks like, a secret changed."""
    if isinstance(value, str):
        return value if masked(value, name) == value else seal(value, _place(SETTINGS, section, name, ""))
    if isinstance(value, Mapping):
        return {key: seal_setting(item, section, seal, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [seal_setting(item, section, seal, name) for item in value]
    return value


def open_setting(value: object, section: str, opened: Change, name: str = "") -> object:
    """The opposite."""
    if isinstance(value, str):
        return opened(value, _place(SETTINGS, section, name, ""))
    if isinstance(value, Mapping):
        return {key: open_setting(item, section, opened, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [open_setting(item, section, opened, name) for item in value]
    return value


def change_texts(value: object, place: str, change: Change) -> object:
    """`value` with every text in it changed; a text's place is the way to it."""
    if isinstance(value, str):
        return change(value, place)
    if isinstance(value, Mapping):
        return {key: change_texts(item, f"{place}\x1f{key}", change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [change_texts(item, f"{place}\x1f{index}", change) for index, item in enumerate(value)]
    return value


def hidden_parameters(parameters: Mapping[str, object]) -> dict[str, object]:
    """A model's parameters as they may be shown."""
    return {
        name: value if is_public(name, value) else change_texts(value, "", lambda _text, _place: MASK)
        for name, value in parameters.items()
    }


def hidden_values(values: Mapping[str, object]) -> dict[str, object]:
    """A credential's values as they may be shown: their names."""
    return dict.fromkeys(values, MASK)


def check_no_secrets(members: Mapping[str, object], param: str, *, instead: str) -> None:
    """Raises InvalidRequest: there is a secret in what is kept in clear, and belongs into `instead`."""
    for name, value in members.items():
        if masked(value, name) != value:
            raise InvalidRequest(
                f"{param} is kept and shown as it is, and this looks like a secret. Put it into {instead}.",
                param=f"{param}.{masked(name)}",
            )


def _place(table: str, row_id: str, name: str, where: str) -> str:
    return f"{table}\x1e{row_id}\x1e{name}\x1e{where}"

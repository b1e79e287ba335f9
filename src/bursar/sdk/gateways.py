"""Calls that go through a Bursar gateway are on its books: the SDK leaves them to it."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from bursar.sdk.litellm_event import MAPPINGS

_MARK = "x-bursar-version"
_RELAYED_MARK = f"llm_provider-{_MARK}"
"""As LiteLLM hands an upstream's header on."""


class Gateways:
    """Which calls those are: by the URL where it is known, else by the mark that every answer of a gateway bears."""

    def __init__(self, urls: Iterable[str] = ()) -> None:
        """`urls`: whatever is at or below them is a gateway's."""
        self._named = [base for url in urls if (base := _base(url))]
        self._seen: set[str] = set()
        """Where a gateway has answered: that very URL, since others may answer beside and below it."""

    def serve(self, details: Mapping[str, object], *, failed: bool = False) -> bool:
        """Whether the call of LiteLLM's `details`, which `failed` or not, went through one.

        An answer with the mark, also a refusal, makes its URL known: a call that fails without an answer is recognised
        by that from then on.
        """
        marked = _is_marked(details, failed=failed)
        if not marked and not self._named and not self._seen:
            return False
        base = _base(_api_base(details))
        if marked and base:
            self._seen.add(base)
        return marked or base in self._seen or any(f"{base}/".startswith(f"{named}/") for named in self._named)


def _api_base(details: Mapping[str, object]) -> str:
    params = details.get("litellm_params")
    told = details.get("standard_logging_object")
    for place in (params, told, details):
        base = place.get("api_base") if isinstance(place, Mapping) else None
        if base:
            return str(base)
    return ""


def _is_marked(details: Mapping[str, object], *, failed: bool) -> bool:
    headers = details.get("response_headers")
    # Of an answer, an exception is that of an attempt before it: a call's attempts share one record.
    if failed and headers is None and (error := details.get("exception")) is not None:
        headers = getattr(error, "litellm_response_headers", None)
    if isinstance(headers, MAPPINGS) and _MARK in headers:
        return True
    told = details.get("standard_logging_object")
    hidden = told.get("hidden_params") if isinstance(told, MAPPINGS) else None
    relayed = hidden.get("additional_headers") if isinstance(hidden, MAPPINGS) else None
    return isinstance(relayed, MAPPINGS) and (_RELAYED_MARK in relayed or _MARK in relayed)


@lru_cache(maxsize=256)
def _base(url: str) -> str:
    """Scheme, host, port and path, always in the same spelling; "": it is no URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname}:{port}{parts.path.rstrip('/')}" if parts.hostname else ""

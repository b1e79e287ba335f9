"""Prompts and answers for log rows, where the operator wants them kept (`store_prompts_in_spend_logs`)."""

import json
from collections.abc import Callable

from bursar.domain.storable import shortened_json
from bursar.gateway.call import Call
from bursar.ports.ledger import CallText


class TextKeeper:
    """Makes the text of a finished call ready to be stored."""

    def __init__(self, keep: Callable[[CallText], None]) -> None:
        """`keep` is given each text. It must not wait."""
        self._keep = keep

    def keep(self, call: Call, answer: bytes | dict[str, object] | None) -> None:
        """Keep what was asked and answered; None: there was no answer. Redacted calls are passed over."""
        if call.attribution.redact_text:
            return
        request = _decoded(call.request.body)
        messages = request.get("messages") if isinstance(request, dict) else None
        self._keep(
            CallText(
                call_id=call.id,
                litellm_call_id=call.attribution.litellm_call_id,
                messages=shortened_json({} if messages is None else messages),
                response=shortened_json(_decoded(answer) if isinstance(answer, bytes) else answer or {}),
                request=shortened_json(request),
            )
        )


def _decoded(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return {}

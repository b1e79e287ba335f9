"""The books without the gateway: what Python apps spend at providers, booked by the app itself.

    import bursar.sdk
    litellm.success_callback = ["bursar"]

docs/sdk.md goes through it.
"""

from typing import TYPE_CHECKING

from bursar.sdk.install import Installation

if TYPE_CHECKING:
    from bursar.sdk.ledger import Ledger as Ledger
    from bursar.sdk.litellm_callback import NamedCallback, Stream, WatchedStream
    from bursar.sdk.litellm_callback import SpendCallback as SpendCallback
    from bursar.sdk.recorder import Health as Health

    PrismaProxyLogger = SpendCallback

_installation = Installation()
"""LiteLLM is one module for the whole process, and so is what is registered with it."""
_installation.install_with_litellm()


def install() -> "NamedCallback":
    """Register with LiteLLM, which importing this does too. Raises ImportError: LiteLLM is not installed."""
    return _installation.install()


def flush(timeout_s: float = 5.0) -> bool:
    """Wait until the database has all calls booked by name; whether it has."""
    return _installation.install().flush(timeout_s)


async def aclose(timeout_s: float = 5.0) -> bool:
    """Book what is still to be told, and post everything; whether the database has it."""
    return await _installation.install().aclose(timeout_s)


def health() -> "Health":
    """How the books of the calls booked by name are."""
    return _installation.install().health()


def watch(stream: "Stream") -> "WatchedStream[Stream]":
    """A stream of LiteLLM's, of which is booked what was read if it is left before its end."""
    return _installation.install().watch(stream)


def __getattr__(name: str) -> type["SpendCallback"] | type["Ledger"]:
    """`SpendCallback`, and `PrismaProxyLogger`, its other name: made when asked for, since they need LiteLLM; and
    `Ledger`, which does not."""
    if name in ("SpendCallback", "PrismaProxyLogger"):
        from bursar.sdk.litellm_callback import SpendCallback

        return SpendCallback
    if name == "Ledger":
        from bursar.sdk.ledger import Ledger

        return Ledger
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

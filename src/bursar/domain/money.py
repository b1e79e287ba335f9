"""Money: whole nano-dollars, and prices in nano-dollars per million units. Floats end here.

Integers add exactly in any order and fit one signed 64-bit column (± 9.2 billion USD). A price is per *million* units
because one token may not be a whole number of nano-dollars.
"""

from decimal import Decimal, InvalidOperation
from typing import NewType

from bursar.domain.errors import ConfigError

NanoUsd = NewType("NanoUsd", int)
"""An amount of money: 10⁻⁹ US dollars."""

Rate = NewType("Rate", int)
"""A price: nano-dollars per million units (tokens, characters, seconds, images …)."""

NANO_PER_USD = 1_000_000_000
UNITS_PER_RATE = 1_000_000
MAX_NANO_USD = NanoUsd(2**63 - 1)

_RATE_PER_USD = Decimal(NANO_PER_USD * UNITS_PER_RATE)
_MAX_EXPONENT = 30
"""Powers of ten beyond this are refused before they are multiplied: decimals have a largest exponent, too."""
_FLOAT_NOISE = Decimal("1e-9")
"""How far, relative to itself, a price may be from a whole rate and still be taken for float noise."""


def without_dust(usd: float) -> float:
    """A sum of dollars without the digits that adding up floats in another order would change."""
    return round(usd, 9)


def rate_from_usd(per_unit: float | int | str | Decimal) -> Rate:
    """The rate for a price in US dollars per unit, as LiteLLM's config and price map state prices.

    A float such as `2.5e-06` arrives with noise in its last digits; noise below one part in 10⁹ is rounded off. A price
    that is really finer than a nano-dollar per million units is refused, since it could not be billed exactly.

    Raises ConfigError: negative, not a finite number, too large, or too fine.
    """
    try:
        usd = Decimal(str(per_unit)) if not isinstance(per_unit, Decimal) else per_unit
    except InvalidOperation:
        raise ConfigError(f"expected a price in US dollars per unit, got {per_unit!r}") from None
    if isinstance(per_unit, bool) or not usd.is_finite() or usd < 0:
        raise ConfigError(f"expected a price of 0 or more US dollars per unit, got {per_unit!r}")
    if usd.adjusted() > _MAX_EXPONENT:
        raise ConfigError(f"price {per_unit} is above the largest that can be booked")
    exact = usd * _RATE_PER_USD
    rounded = exact.to_integral_value()
    if abs(exact - rounded) > exact * _FLOAT_NOISE:
        raise ConfigError(
            f"price {per_unit} is finer than a nano-dollar per million units, which cannot be billed exactly; "
            f"round it to {usd_text(int(rounded), scale=15)}"
        )
    if rounded > MAX_NANO_USD:
        raise ConfigError(f"price {per_unit} is above the largest that can be booked")
    return Rate(int(rounded))


def nano_from_usd(usd: float | int | str | Decimal) -> NanoUsd:
    """An amount such as a budget in US dollars, rounded to the nearest nano-dollar.

    Raises ConfigError: not a finite number, or beyond what a 64-bit column holds (about 9.2 billion US dollars; "no
    limit" is written null).
    """
    try:
        amount = Decimal(str(usd))
    except InvalidOperation:
        raise ConfigError(f"expected an amount in US dollars, got {usd!r}") from None
    if (
        isinstance(usd, bool)
        or not amount.is_finite()
        or amount.adjusted() > _MAX_EXPONENT
        or abs(amount) * NANO_PER_USD > MAX_NANO_USD
    ):
        raise ConfigError(
            f"expected an amount between -9.2e9 and 9.2e9 US dollars, got {usd!r}; write null for no limit"
        )
    return NanoUsd(int((amount * NANO_PER_USD).to_integral_value()))


def usd_float(amount: int) -> float:
    """The nearest float in US dollars: for LiteLLM's columns, headers and JSON only."""
    return amount / NANO_PER_USD


def usd_text(amount: int, *, scale: int = 9) -> str:
    """`amount` × 10⁻ˢᶜᵃˡᵉ as a plain decimal string, exact, without trailing zeros."""
    text = format(Decimal(amount).scaleb(-scale), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text

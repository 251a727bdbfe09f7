"""Numbers that make no sense are refused, with what to change."""

import math

MOST = 2**63 - 1
"""Integers are below this."""

MOST_LAYERS = 10_000
"""Networks are built layer by layer."""

_WIDEST = 1_000_000


def check_at_least(name: str, value: int, least: int, most: int = MOST) -> None:
    """Raise a ValueError if an integer is smaller than `least` or too large."""
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    if value > most:
        raise ValueError(f"{name} must be at most {most:,}: choose a smaller one")


def check_positive(name: str, value: float) -> None:
    """Raise a ValueError unless `value` is positive and finite."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be positive and finite, got {value:g}: change it")


def check_moderate(name: str, value: float) -> None:
    """Raise a ValueError unless `value` is positive, and its square and inverse are far from ends.

    Scaling all of a scalar network, nothing is lost.
    """
    check_positive(name, value)
    if not 1e-100 <= value <= 1e100:
        raise ValueError(f"{name} must be between 1e-100 and 1e100, got {value:g}: scale it")


def check_widths(widths: tuple[int, ...]) -> None:
    """Raise a ValueError unless layers of these widths can be thought of."""
    if not all(1 <= width <= _WIDEST for width in widths):
        raise ValueError(f"widths must all be at least 1 and at most {_WIDEST:,}, got {widths}")

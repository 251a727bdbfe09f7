"""Modules that are imported when something of them is first asked for."""

import importlib
from typing import Any


class Lazy:
    """A stand-in for a module that is slow to import.

    >>> fractions = Lazy("fractions")
    >>> fractions.Fraction(1, 2)
    Fraction(1, 2)
    """

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)

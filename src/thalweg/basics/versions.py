"""The versions of what the numbers of a run depend on."""

import importlib.metadata
import platform
from functools import cache

_PACKAGES = ("thalweg", "jax", "jaxlib", "diffrax", "numpy")


def versions() -> dict[str, str]:
    """Versions of thalweg, of what its numbers depend on, and of Python.

    >>> sorted(versions())
    ['diffrax', 'jax', 'jaxlib', 'numpy', 'python', 'thalweg']
    """
    return {name: _version(name) for name in _PACKAGES} | {"python": platform.python_version()}


@cache
def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # a source tree that was never installed
        return "unknown"


__version__ = _version("thalweg")
"""The version of the package, which pyproject.toml sets."""

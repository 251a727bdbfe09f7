"""The name that run folders have in the package: `thalweg.results`."""

from thalweg import runs as results

__all__ = ["results"]

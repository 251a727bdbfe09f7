"""The command line."""

from thalweg.cli.commands import BAD_INPUT, INTERRUPTED, NOT_DONE, main

__all__ = ["BAD_INPUT", "INTERRUPTED", "NOT_DONE", "main"]

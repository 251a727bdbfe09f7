"""The command line."""

from thalweg.cli.commands import BAD_INPUT, INTERRUPTED, NOT_DONE, OUT_OF_BUDGET, main

__all__ = ["BAD_INPUT", "INTERRUPTED", "NOT_DONE", "OUT_OF_BUDGET", "main"]

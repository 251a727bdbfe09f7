"""The command line."""

from thalweg.cli.commands import main
from thalweg.cli.exit_codes import BAD_INPUT, INTERRUPTED, NOT_DONE, OUT_OF_BUDGET

__all__ = ["BAD_INPUT", "INTERRUPTED", "NOT_DONE", "OUT_OF_BUDGET", "main"]

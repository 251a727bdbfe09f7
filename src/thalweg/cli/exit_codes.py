"""Exit codes of the commands, beside 0; 128 and its number where a signal stopped one."""

NOT_DONE = 1
BAD_INPUT = 2
OUT_OF_BUDGET = 75
INTERRUPTED = 130

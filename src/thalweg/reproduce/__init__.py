"""The paper's three settings, run again, and its claims judged in a report."""

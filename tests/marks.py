"""Marks for some parameters of a test; for whole tests and files there is `pytest.mark`."""

import pytest


def slow(*parameters, mark=pytest.mark.slow):
    """Return parameters that `make test` leaves out: tuples where a test has several arguments."""
    return [
        pytest.param(*(one if isinstance(one, tuple) else (one,)), marks=mark) for one in parameters
    ]


def survival(*parameters):
    """Return parameters for which a test is of the kind `survival`."""
    return slow(*parameters, mark=pytest.mark.survival)

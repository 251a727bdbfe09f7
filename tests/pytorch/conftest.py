"""Tests of PyTorch models are marked `torch`, and left out where it is not installed."""

from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
IS_HERE = all(find_spec(name) for name in ("torch", "torchax"))
collect_ignore_glob = [] if IS_HERE else ["test_*.py"]


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.torch)

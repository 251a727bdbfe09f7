"""The reference values of the benchmarks: independent of what they judge, and right."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
REFERENCES = json.loads((BENCHMARKS / "references.json").read_text())


def test_the_script_that_makes_references_does_not_use_the_code_they_judge():
    tree = ast.parse((BENCHMARKS / "references.py").read_text())
    imported = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert "scipy.integrate" in imported
    assert not any(name.startswith("thalweg") for name in imported)


@pytest.mark.parametrize("name", sorted(n for n, entry in REFERENCES.items() if "value" in entry))
def test_references_have_seven_digits_and_end_at_their_limit(name):
    entry = REFERENCES[name]
    assert entry["uncertainty"] < 3e-7
    assert entry["value"] > 0


def test_the_reference_of_the_scalar_network_solves_its_equations():
    # The flow conserves w_i² - w_j²; at the limit the product is 1.
    squares = np.array([2.0, 1.5, 0.4, 0.3, -0.8]) ** 2
    balances = squares - squares.min()
    x = brentq(lambda x: np.sum(np.log(x + balances)), 1e-12, 10, xtol=1e-15)
    exact = np.sum(1 / (x + balances))
    assert REFERENCES["scalar network"]["value"] == pytest.approx(exact, rel=1e-9)

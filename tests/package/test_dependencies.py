"""What is imported is declared, and what is declared is imported."""

import ast
import re
import sys
import tomllib
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OF_DISTRIBUTION = {
    "scikit-learn": "sklearn",
    "lazy-loader": "lazy_loader",
    "python-flint": "flint",
    "pytest-xdist": "pytest",
    "import-linter": "importlinter",
}
"""Modules, where their name is not that of the distribution."""
THROUGH_OTHERS = {"h5netcdf", "h5py"}
"""Not imported by name: the engine of xarray for netCDF-4 files, and what that reads with."""
TOOLS = {"ruff", "mypy", "importlinter", "types-greenlet"}


def imported(*folders):
    """Return the modules, not of the standard library, that files in these folders import."""
    names, own = set(), {"thalweg"}
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            own.add(path.stem)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    names |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    names.add(node.module)
    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - own


def declared(*lists):
    """Return the modules of the distributions in lists of requirements."""
    names = {re.match(r"[\w-]+", one).group() for one in chain(*lists)}
    return {OF_DISTRIBUTION.get(name, name) for name in names}


EXTRAS = PROJECT["optional-dependencies"]
OF_DEVELOPERS = ("dev", "dev-models", "docs", "browser")
FOR_TESTS = [EXTRAS["dev"], EXTRAS["dev-models"]]
FOR_USE = [
    PROJECT["dependencies"],
    *(of for name, of in EXTRAS.items() if name not in OF_DEVELOPERS),
]


def test_the_package_declares_what_it_imports_and_nothing_else():
    assert declared(*FOR_USE) == imported("src") | THROUGH_OTHERS
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    assert 'engine="h5netcdf"' in source


def test_what_tests_import_is_declared_too():
    known = declared(*FOR_USE, *FOR_TESTS)
    assert imported("tests", "benchmarks", "examples") <= known
    assert declared(*FOR_TESTS) - declared(*FOR_USE) - TOOLS <= imported("tests", "benchmarks")


def test_what_the_site_needs_is_declared_too():
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    plugins = {name for name in ("mkdocs-jupyter", "mkdocstrings") if f"- {name}:" in settings}
    kernel = "ipykernel" if "kernel_name: python3" in settings else ""
    theme = "mkdocs-material" if "name: material" in settings else ""
    fonts = "ziamath" if "ziamath.fonts" in (ROOT / "docs/theme/hooks.py").read_text() else ""
    imported_there = imported("docs") - declared(*FOR_USE) - {"mkdocs"}
    assert declared(EXTRAS["docs"]) == imported_there | plugins | {kernel, theme, fonts}

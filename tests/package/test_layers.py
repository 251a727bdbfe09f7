"""The architecture: which layer imports which, and where derivatives come from."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import thalweg

SOURCE = Path(thalweg.__file__).parent
DERIVATIVES = {
    *("grad", "value_and_grad", "vjp", "jvp", "linearize", "linear_transpose", "hessian"),
    *("jacfwd", "jacrev", "jacobian"),
    *("filter_grad", "filter_value_and_grad", "filter_jvp", "filter_vjp"),
    *("filter_jacfwd", "filter_jacrev", "filter_hessian"),
}
MODULES_WITH_DERIVATIVES = {"jax", "equinox", "eqx"}
# Rooms that never use JAX; others, which import it within functions, are imported without it.
NO_JAX = {"basics", "data", "verdict", "figures", "display"}
LAZY = ("cli", "display", "experiments", "models", "runs", "basics", "data", "figures", "verdict")


def layer_of(path):
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def modules():
    return [path for path in sorted(SOURCE.rglob("*.py")) if layer_of(path) != "__init__"]


def imported(tree):
    """Yield the full dotted names of everything that `tree` imports, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer they come from"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def uses_of_derivatives(tree):
    used = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in DERIVATIVES:
            root = node.value
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name) and root.id in MODULES_WITH_DERIVATIVES:
                used.add(node.attr)
    for name in imported(tree):
        module, _, attribute = name.rpartition(".")
        if module.split(".")[0] in MODULES_WITH_DERIVATIVES and attribute in DERIVATIVES:
            used.add(attribute)
    return used


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def test_the_checks_themselves_find_what_they_look_for():
    tree = ast.parse(
        "import thalweg.flow.rkc\nfrom thalweg import figures\n"
        "def f():\n    from thalweg.descent import descend\n    return jax.grad(eqx.filter_jvp)\n"
        "from jax import vjp as pullback\nfrom thalweg.problems import COST"
    )
    assert set(imported(tree)) == {
        *("thalweg.flow.rkc", "thalweg.figures", "thalweg.descent.descend", "jax.vjp"),
        "thalweg.problems.COST",
    }
    assert uses_of_derivatives(tree) == {"grad", "filter_jvp", "vjp"}


def test_rooms_import_one_way():
    """The contracts are in pyproject.toml."""
    config = Path(__file__).parents[2] / "pyproject.toml"
    code = (
        "from importlinter.cli import lint_imports\n"
        f"raise SystemExit(lint_imports(config_filename={str(config)!r}, no_cache=True))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kept, 0 broken" in done.stdout


@pytest.mark.parametrize("room", sorted(NO_JAX))
def test_rooms_that_do_not_compute_do_not_import_jax(room):
    for path in modules():
        if layer_of(path) == room:
            roots = {name.split(".")[0] for name in imported(parse(path))}
            assert not roots & {"jax", "jaxlib", "equinox", "diffrax"}, path


def test_what_is_slow_is_imported_when_it_is_used():
    """The command line explains itself, and keeps a configuration, before JAX is there."""
    code = f"""
import importlib, sys
for room in {LAZY}:
    importlib.import_module(f"thalweg.{{room}}")
    if room == "runs":
        assert not {{"jax", "numpy", "xarray", "matplotlib"}} & set(sys.modules)
assert "jax" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_derivatives_come_from_problems_alone():
    users = {layer_of(path) for path in modules() if uses_of_derivatives(parse(path))}
    assert users == {"problems"}


def test_every_public_name_resolves():
    for name in thalweg.__all__:
        assert getattr(thalweg, name) is not None
    assert thalweg.__all__ == sorted(thalweg.__all__)
    assert dir(thalweg) == thalweg.__all__


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="no_such_name"):
        thalweg.no_such_name  # noqa: B018


def test_importing_changes_no_setting_of_jax():
    code = (
        "import jax; before = dict(jax.config.values)\n"
        "import thalweg\n"
        "for name in thalweg.__all__: getattr(thalweg, name)\n"
        "import jax.numpy as jnp\n"
        "changed = {k for k, v in jax.config.values.items() if before.get(k, v) != v}\n"
        "assert not changed, changed\n"
        "assert not jax.config.jax_enable_x64\n"
        "assert jnp.ones(1).dtype == jnp.float32\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

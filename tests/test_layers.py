"""The architecture: which layer imports which, and where derivatives come from."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import thalweg

SOURCE = Path(thalweg.__file__).parent
ORDER = (
    *("basics", "problems", "scalar", "diagonal", "models", "data", "curvature", "flow", "verdict"),
    *("descent", "figures", "runs", "experiments", "reproduce", "display", "cli"),
)
# A layer that may use less than all layers before it (`None`: the package itself, which names all).
ALLOWED = {
    "scalar": {"basics", "problems"},
    "diagonal": {"basics", "problems"},
    "models": {"basics"},
    "data": {"basics"},
    "verdict": {"basics"},
    "figures": set(),
    "display": {"descent", "runs"},
}
DERIVATIVES = {
    *("grad", "value_and_grad", "vjp", "jvp", "linearize", "linear_transpose", "hessian"),
    *("jacfwd", "jacrev", "jacobian"),
    *("filter_grad", "filter_value_and_grad", "filter_jvp", "filter_vjp"),
    *("filter_jacfwd", "filter_jacrev", "filter_hessian"),
}
MODULES_WITH_DERIVATIVES = {"jax", "equinox", "eqx"}
NO_JAX = {"basics", "data", "verdict", "figures", "experiments", "display", "cli"}


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


def layers_imported(tree):
    names = (name.split(".") for name in imported(tree))
    return {name[1] if len(name) > 1 else "thalweg" for name in names if name[0] == "thalweg"}


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
    assert layers_imported(tree) == {"flow", "figures", "descent", "problems"}
    assert uses_of_derivatives(tree) == {"grad", "filter_jvp", "vjp"}


def test_every_module_belongs_to_a_known_layer():
    assert {layer_of(path) for path in modules()} == set(ORDER)


@pytest.mark.parametrize("layer", ORDER)
def test_a_layer_imports_only_layers_before_it(layer):
    allowed = ALLOWED.get(layer, set(ORDER[: ORDER.index(layer)])) | {layer}
    for path in modules():
        if layer_of(path) == layer:
            assert layers_imported(parse(path)) <= allowed, path


@pytest.mark.parametrize("layer", sorted(NO_JAX))
def test_layers_that_do_not_compute_do_not_import_jax(layer):
    for path in modules():
        if layer_of(path) == layer:
            roots = {name.split(".")[0] for name in imported(parse(path))}
            # Experiments and commands may import JAX inside of functions.
            if layer in ("experiments", "cli"):
                top = ast.Module(parse(path).body, [])
                roots = {
                    name.split(".")[0]
                    for node in top.body
                    if isinstance(node, ast.Import | ast.ImportFrom)
                    for name in imported(node)
                }
            assert not roots & {"jax", "jaxlib", "equinox", "diffrax"}, path


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

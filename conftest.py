"""Modules that need an extra which is not installed are not collected."""

from importlib.util import find_spec

NEED = {
    "torch": [
        "src/thalweg/torch/*",
        "src/thalweg/torch",
        "tests/torch_models.py",
        *("benchmarks/translations.py", "benchmarks/translated_flow.py"),
    ],
    "bokeh": [
        *(f"src/thalweg/explore/{name}.py" for name in ("network_view", "page", "panels")),
        *(f"src/thalweg/explore/{name}.py" for name in ("scalar_view", "server")),
    ],
}
collect_ignore_glob = [
    path for extra, paths in NEED.items() if find_spec(extra) is None for path in paths
]

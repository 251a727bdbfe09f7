"""What the page on models shows runs as it stands, and so does the example."""

import importlib.util
import re
import runpy
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "own-models.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^thalweg run network (.*)$", PAGE, re.MULTILINE)


@pytest.mark.slow
def test_python_blocks_run_one_after_the_other(capsys):
    names: dict = {}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for block in BLOCKS:
            if "flax" in block and not importlib.util.find_spec("flax"):
                continue
            exec(compile(block, "own-models.md", "exec"), names)
    printed = capsys.readouterr().out
    assert printed.count("at the start") >= 3
    assert all(float(value) > 0 for value in re.findall(r"(\S+) at the start", printed))
    assert names["flow"].converged


@pytest.mark.slow
def test_the_example_runs(capsys):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        names = runpy.run_path(str(ROOT / "examples" / "own_model.py"))
    data = names["data"]
    assert names["run"].status[0].value == "completed"
    assert (data["gfs_status"] == 0).all()
    assert capsys.readouterr().out.count("GFS sharpness") == data.sizes["gfs_step"] == 4


def test_commands_have_options_that_exist():
    import tyro

    from thalweg.experiments import Network

    assert COMMANDS
    for command in COMMANDS:
        arguments = command.replace("--out DIR", "").split()
        tyro.cli(Network, args=arguments, config=(tyro.conf.OmitArgPrefixes,)).check()

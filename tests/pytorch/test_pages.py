"""What README and page show of PyTorch runs as it stands."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
import xarray as xr

import thalweg as tw

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def run(block, page, names):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        exec(compile(block, page, "exec"), names)
    return names


@pytest.fixture(scope="module")
def of_readme(tmp_path_factory):
    """Return the block of the README that imports torch, and what it leaves when it is run."""
    folder = tmp_path_factory.mktemp("readme")
    (block,) = [block for block in blocks("README.md") if "import torch" in block]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        names = run(block, "README.md", {})
    return block, names, folder


def test_the_readme_measures_along_a_training_loop_of_torch(of_readme):
    _, names, folder = of_readme
    dataset = names["along"].dataset
    assert next(names["model"].parameters()).dtype == torch.float32
    assert dataset["sharpness_step"].values.tolist() == list(range(0, 401, 20))
    assert dataset["gfs_step"].values.tolist() == list(range(0, 401, 100))
    assert (dataset["gfs_status"] == tw.Status.CONVERGED).all()
    assert np.isfinite(dataset["sharpness"]).all()
    assert dataset["loss"].sizes["step"] == 401
    assert float(dataset["threshold"][0]) == pytest.approx(2 / 0.9)
    assert (folder / "torch.png").stat().st_size > 10_000


def test_saved_state_dicts_give_the_very_same_dataset(of_readme, tmp_path):
    block, names, _ = of_readme
    measured = "along.measure(step, problem.parameters(model))  # or of a state dict"
    assert measured in block
    training = block.replace(measured, "torch.save(model.state_dict(), folder / f'{step}.pt')")
    run(training.partition("print(along")[0], "README.md", {"folder": tmp_path})
    problem = names["problem"]
    saved = ((step, problem.parameters(torch.load(tmp_path / f"{step}.pt"))) for step in range(401))
    again = tw.measure_along(problem, saved, names["measurements"], step_size=0.9)
    xr.testing.assert_identical(again.dataset, names["along"].dataset)


def test_blocks_of_the_page_run_one_after_the_other(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks("docs/pytorch.md"):
        run(block, "docs/pytorch.md", names)
    assert names["flow"].converged
    assert capsys.readouterr().out.splitlines()[-1] == "True"
    dataset = names["along"].dataset
    assert dataset["sharpness_step"].values.tolist() == list(range(0, 101, 20))
    assert np.isfinite(dataset["gfs_sharpness_error"]).all()
    assert dataset.sizes["gfs_step"] == 3

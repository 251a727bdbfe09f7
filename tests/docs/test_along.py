"""What the page on one's own training shows runs as it stands."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "along.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.usefixtures("little_is_drawn")
def test_python_blocks_run_one_after_the_other(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for block in BLOCKS:
            exec(compile(block, "along.md", "exec"), names)
    assert capsys.readouterr().out.splitlines()[-1] == "decreasing"
    assert (tmp_path / "runs" / "mine" / "summary.json").is_file()
    rows = (tmp_path / "readings.csv").read_text().splitlines()
    assert rows[0] == "step,name,value"
    measured = [row.split(",") for row in rows if ",gfs_sharpness," in row]
    expected = names["run"].dataset["gfs_sharpness"].values[0]
    np.testing.assert_array_equal([float(value) for *_, value in measured], expected)

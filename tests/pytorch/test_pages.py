"""What README and page show of PyTorch runs as it stands."""

import re
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/pytorch.md"])
def test_blocks_run_one_after_the_other(page, capsys):
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict = {}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for block in blocks[-1:] if page == "README.md" else blocks:
            exec(compile(block, page, "exec"), names)
    printed = capsys.readouterr().out
    assert names["flow"].converged
    assert len(re.findall(r"^\d+: sharpness", printed, re.MULTILINE)) >= 6
    assert len(re.findall(r"^\d+: GFS sharpness \S+ ± \S+", printed, re.MULTILINE)) >= 2

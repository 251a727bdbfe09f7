"""What the README shows runs as it stands, and the example is the same text."""

import re
from pathlib import Path

import jax

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_python_blocks_run(capsys):
    assert BLOCKS
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for block in BLOCKS:
            if "import torch" in block:  # tests/pytorch runs it
                continue
            exec(compile(block, "README.md", "exec"), {})
    assert "decreasing" in capsys.readouterr().out


def test_the_example_is_the_one_of_the_readme():
    example = (ROOT / "examples" / "own_loss.py").read_text(encoding="utf-8")
    assert BLOCKS[0].strip() in example


def test_it_is_short_and_what_it_links_to_is_there():
    assert len(README.splitlines()) <= 120
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", README)
    assert "docs/assets/digits-mlp.png" in links
    assert [link for link in links if not (ROOT / link).exists()] == []

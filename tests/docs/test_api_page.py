"""The API page says what there is."""

import inspect
import re
from pathlib import Path

import pytest

import thalweg as tw
from thalweg.problems import COST

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", tw.__all__)
def test_every_public_name_is_on_the_page(name):
    assert re.search(rf"\*\*`tw\.{name}\b", PAGE), name


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in tw.__all__
        if inspect.isfunction(getattr(tw, name))
        or name in ("Supervised", "GFSSharpness", "Quantity", "Sharpness", "ScalarNetwork")
    ],
)
def test_signatures_name_every_parameter(name):
    entry = " ".join(PAGE.split(f"**`tw.{name}(", 1)[1].split(")`**", 1)[0].split())
    written = re.findall(r"(\w+)(?:=[^,]+)?(?:,|$)", entry.replace("=()", ""))
    assert written == list(inspect.signature(getattr(tw, name)).parameters)


@pytest.mark.parametrize("status", tw.Status)
def test_every_status_is_on_the_page_with_its_number_and_advice(status):
    assert f"| `{status.name}` | {int(status)} | {status.advice} |" in PAGE


def test_the_cost_table_is_that_of_the_code():
    header, row = (
        re.search(rf"^\| {start}.*$", PAGE, re.MULTILINE).group()
        for start in (r"`loss` \| `gr", "0.5 ")
    )
    names = re.findall(r"`(\w+)`", header)
    costs = [float(cell) for cell in row.strip("| ").split("|")]
    assert dict(zip(names, costs, strict=True)) == COST._asdict()

"""Every kind of layer: value, derivatives, J and Jᵀ against torch's own automatic derivatives."""

import re

import pytest
from torch import nn

import torch_models
from marks import slow
from thalweg.torch import supervised
from translations import PAGE, QUANTITIES, WRONG, compared, relative_error


@pytest.mark.parametrize(
    "name", ["tanh", *slow(*sorted(torch_models.MODELS.keys() - WRONG - {"tanh"}))]
)
def test_derivatives_are_those_of_torch(name):
    pairs, measured = compared(name)
    if measured is not None:
        product, of_torch = pairs.pop(2)
        assert relative_error(of_torch, measured) > 0.1
        assert relative_error(product, measured) <= 1e-7
    assert len(pairs) + (measured is not None) == len(QUANTITIES)
    for found, expected in pairs:
        assert relative_error(found, expected) <= 1e-9


@pytest.mark.parametrize("name", slow(*sorted(WRONG)))
def test_what_torchax_has_wrong_is_refused(name):
    model, x, y = torch_models.case(name)
    with pytest.raises(ValueError, match=r"is not used|cannot be translated") as caught:
        supervised(model, x, y, nn.MSELoss())
    assert "\n" not in str(caught.value)


def test_the_page_has_a_row_for_each_of_many_models():
    rows = re.findall(r"^\| (\w+) \| \d+ \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert [name for name, _ in rows] == list(torch_models.MODELS)
    errors = {name: cells.split(" | ") for name, cells in rows if name not in WRONG}
    assert len(errors) >= 50
    told = [cell for cells in errors.values() for cell in cells if not cell.endswith("*")]
    assert max(map(float, told)) <= 1e-9

"""The example without the package gives the package's numbers."""

import runpy
from pathlib import Path

import jax
import numpy as np
import pytest

import thalweg as tw
from thalweg.scalar import scalar_orbits

EXAMPLE = Path(__file__).parents[2] / "examples" / "minimal.py"


@pytest.mark.slow
def test_its_values_are_those_of_the_package():
    source = EXAMPLE.read_text(encoding="utf-8")
    assert "import thalweg" not in source
    assert len(source.splitlines()) <= 70
    with jax.numpy_dtype_promotion("standard"):
        names = runpy.run_path(str(EXAMPLE))
        figure, iterates, sharpness, gfs_sharpness = names["main"]()
    network = tw.ScalarNetwork(depth=len(names["START"]))
    path = scalar_orbits([names["START"]], names["STEP_SIZE"], skip=0, keep=names["STEPS"] + 1).w[0]
    np.testing.assert_allclose(iterates, path, rtol=1e-9)
    np.testing.assert_allclose(sharpness, jax.vmap(network.sharpness)(iterates), rtol=1e-9)
    np.testing.assert_allclose(gfs_sharpness, network.flow_limits(path).sharpness, rtol=1e-6)
    assert [axes.get_title() for axes in figure.axes][2] == "GFS sharpness φ"

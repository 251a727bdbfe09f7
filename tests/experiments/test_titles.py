"""What figures are called: what was run, on what, of what size, with which loss."""

import pytest

from thalweg import experiments, results
from thalweg.experiments import (
    EXPERIMENTS,
    DigitsMLP,
    Network,
    Scalar,
    SquaredRegressionExperiment,
)


@pytest.mark.parametrize(
    ("config", "title"),
    [
        (
            DigitsMLP(widths=(8, 4), samples=40),
            "tanh network of widths 8 and 4 on 40 handwritten digits, squared loss",
        ),
        (DigitsMLP(widths=()), "tanh network on 300 handwritten digits, squared loss"),
        (
            Network(architecture="resnet", widths=(6, 12), image_size=4, samples=20),
            "resnet of widths 6 12, tanh, on 20 images (digits) of 4 × 4 pixels, squared loss",
        ),
        (Scalar(depth=5, target=2.0), "scalar network of depth 5, target 2, squared loss"),
        (
            SquaredRegressionExperiment(data="diabetes"),
            "squared regression on 442 patients, 10 features, squared loss",
        ),
        (
            SquaredRegressionExperiment(depth=3, samples=7),
            "diagonal network of depth 3 on 7 sparse samples, 40 features, squared loss",
        ),
    ],
)
def test_a_title_says_what_was_run(config, title):
    assert config.title == title


def test_every_experiment_has_a_title_of_its_own():
    assert all(kind().title != kind.name for kind in EXPERIMENTS.values())


@pytest.mark.usefixtures("little_is_drawn")
def test_the_title_is_stored_with_the_results(tmp_path):
    config = Scalar(steps=2, gfs_every=2)
    experiments.run(config, tmp_path / "run")
    assert results.load(tmp_path / "run").dataset.attrs["title"] == config.title

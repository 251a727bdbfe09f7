"""Sweep, plane and bifurcation diagram of scalar networks: folders, numbers, figures."""

import dataclasses
import json
import math
import signal

import jax.numpy as jnp
import numpy as np
import pytest

import thalweg as tw
from marks import slow
from thalweg import cli, experiments, results
from thalweg.experiments import ScalarBifurcation, ScalarPlane, ScalarSweepStudy
from thalweg.figures import plot
from thalweg.runs.strict_json import to_json
from thalweg.scalar.descent import hessian_product
from thalweg.scalar.orbits import scalar_orbits

RUN = {"step_size", "threshold", "steps", "status", "final", "gradient_evaluations"}
FINAL = {"loss", "sharpness", "gfs_sharpness", "gfs_sharpness_error"}
SWEEP = [
    "--depth",
    "2",
    "--starts",
    "40",
    "--step-sizes",
    "7",
    "--steps",
    "300",
    "--gfs-steps",
    "10",
]
BIFURCATION = ["--depth", "2", "--step-size", "0.9", "1.1", "1.4", "--steps", "3000"]
SMALL = {"scalar-sweep": SWEEP, "scalar-bifurcation": BIFURCATION, "scalar-plane": []}


def labels(figure):
    return {axes.get_xlabel() for axes in figure.axes} | {axes.get_ylabel() for axes in figure.axes}


@pytest.mark.parametrize("name", ["scalar-bifurcation", *slow("scalar-sweep", "scalar-plane")])
def test_a_study_end_to_end(name, tmp_path, capsys):
    folder = tmp_path / "run"
    assert cli.main(["run", name, "--out", str(folder), *SMALL[name]]) == 0
    assert str(folder) in capsys.readouterr().out
    assert {entry.name for entry in folder.iterdir()} == {
        "config.json",
        "result.nc",
        "summary.json",
        "figure.png",
    }
    summary = json.loads((folder / "summary.json").read_text(), parse_constant=pytest.fail)
    assert set(summary) == {"experiment", "runs", "seconds", "gradient_evaluations"}
    stored = results.load(folder)
    assert len(summary["runs"]) == stored.dataset.sizes["run"]
    for run in summary["runs"]:
        assert set(run) >= RUN
        assert set(run["final"]) == FINAL
        assert run["threshold"] == pytest.approx(2 / run["step_size"])
    for variable in ("step_size", "threshold"):
        assert stored.dataset[variable].dims == ("run",)
    assert stored.dataset.attrs["experiment"] == stored.config["experiment"] == name
    assert {"config", "versions"} <= set(stored.dataset.attrs)
    # Left alone without --overwrite, and drawn again from what is stored.
    assert cli.main(["run", name, "--out", str(folder)]) == 2
    assert "already holds a run" in capsys.readouterr().err
    (folder / "figure.png").unlink()
    assert cli.main(["plot", str(folder)]) == 0
    assert (folder / "figure.png").stat().st_size > 10_000


@pytest.mark.slow
def test_ctrl_c_ends_a_study_at_once_and_it_can_be_resumed(tmp_path, monkeypatch, capsys):
    def interrupted(study):
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the study went on")

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(ScalarPlane, "compute", interrupted)
    assert cli.main(["run", "scalar-plane", "--out", str(tmp_path / "run")]) == 130
    assert "thalweg: interrupted" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]
    assert cli.main(["run", "scalar-plane", "--out", str(tmp_path / "run")]) == 2
    assert "thalweg resume" in capsys.readouterr().err
    assert cli.main(["resume", str(tmp_path / "run")]) == 0


def test_a_study_takes_no_budget(tmp_path, capsys):
    folder = str(tmp_path / "run")
    assert cli.main(["run", "scalar-plane", "--out", folder, "--max-time", "5"]) == 2
    assert "--max-time" in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_stores_what_ended_where(tmp_path):
    config = ScalarSweepStudy(depth=(2, 3), starts=60, step_sizes=6, steps=400, gfs_steps=20)
    summary = experiments.run(config, tmp_path / "run")
    data = results.load(tmp_path / "run").dataset
    assert data.sizes["run"] == 12
    assert data["depth"].values.tolist() == [2] * 6 + [3] * 6
    stable = np.isfinite(data["sharpness"])
    np.testing.assert_array_equal(data["density"].sum("scaled_sharpness"), stable.sum("start"))
    scaled = (data["sharpness"] * data["step_size"]).values[stable.values]
    assert np.all(scaled < 2)
    # No minimum is flatter than the balanced one, and none is stable beyond its step size.
    assert np.all((data["sharpness"] >= data["depth"] * (1 - 1e-9)).values[stable.values])
    assert not np.any(stable.values[data["step_size"].values > data["largest_stable"].values])
    assert np.any(stable.values)
    assert np.all(data["outcome_count"].sum("outcome_name") == 60)
    for run, entry in enumerate(summary["runs"]):
        assert sum(entry["outcomes"].values()) == entry["starts"] == 60
        found = entry["monotonicity"]
        for name in ("falls", "rises", "undecided"):
            assert found[name] == int(data[name][run].sum())
        if found["rises"]:
            assert found["verdict"] == "not decreasing"
    report = config.report(summary)
    assert "depth 2: 360 runs: " in report
    assert "fell at" in report
    figure = plot(data)
    assert [axes.get_title().strip() for axes in figure.axes[:2]] == ["depth 2", "depth 3"]
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"stability threshold: $2/\\eta$", "largest $\\eta$ with a stable minimum"} <= set(shown)
    assert {"final sharpness × $\\eta$", "step size $\\eta$", "share of runs"} <= labels(figure)
    without = ScalarSweepStudy(depth=(2,), starts=5, step_size=(0.3,), steps=9, gfs_steps=0)
    data, _ = without.compute()
    assert len(plot(data.assign_attrs(experiment="scalar-sweep")).axes) == 3  # and the colours


def test_period_doubling_is_where_it_is_known_to_be():
    # Depth 2, balanced: x' = x - η (x² - 1) x, with doublings at η λ* = 2 and 2 (√5 - 1) = 2.472.
    sizes = np.array([0.9, 0.98, 1.02, 1.22, 1.25, 1.4, 2.2])
    config = ScalarBifurcation(depth=2, step_size=tuple(sizes), steps=20_000)
    data, runs = config.compute()
    found = [run["behaviour"] for run in runs]
    assert found == [
        *["period 1"] * 2,
        *["period 2"] * 2,
        "period 4",
        "chaos",
        "diverged"[:-1] + "s",
    ]
    np.testing.assert_allclose(data["scaled_step_size"], 2 * sizes)
    # One step, for the product z = x².
    z = data["product"].values[2, 0]
    np.testing.assert_allclose(z[1:], (1 - 1.02 * (z[:-1] - 1)) ** 2 * z[:-1], rtol=1e-9)
    # Exponents on the 2-cycle: along the balanced line the mean of log |1 - η (3 x² - 1)|,
    # across the balanced line: of log |1 + η (x² - 1)|.
    slopes = np.abs(1 - 1.22 * (3 * data["product"].values[3, 0] - 1))
    expected = np.mean(np.log(slopes))
    assert expected < -0.05
    transverse = np.mean(np.log(np.abs(1 + 1.22 * (data["product"].values[3, 0] - 1))))
    assert float(data["exponent"][3, 0]) == pytest.approx(max(expected, transverse), abs=0.02)
    assert float(data["exponent"][5].min()) > 0.05
    assert runs[-1]["status"] == "diverged"
    assert runs[-1]["lyapunov_exponent"] is None or math.isnan(runs[-1]["lyapunov_exponent"])
    lines = config.report({"runs": runs, "seconds": 1.0, "gradient_evaluations": 1}).splitlines()
    assert lines[0] == "from η λ* = 1.8000: period 1"
    figure = plot(data.assign_attrs(experiment="scalar-bifurcation"))
    assert "Lyapunov exponent" in figure.axes[1].get_title(loc="left")
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"the target: product at a minimum", "above 0: chaos"} <= set(shown)


def test_the_plane_holds_flow_lines_minima_and_a_descent_at_the_edge():
    config = ScalarPlane()
    data, (run,) = config.compute()
    lines = data["flow_line"].values
    balance = lines[..., 0] ** 2 - lines[..., 1] ** 2
    np.testing.assert_allclose(balance, balance[:, :1, :1] + 0 * balance, atol=1e-12)
    np.testing.assert_allclose(np.prod(lines[:, :, -1], axis=-1), 1, rtol=1e-12)  # at a minimum
    np.testing.assert_allclose(np.prod(data["minimum"], axis=-1), 1, rtol=1e-12)
    i, j = 30, 100
    x, y = data["plane_axis"].values[[j, i]]
    exact = math.sqrt((x * x - y * y) ** 2 + 4)  # x² + y² at x y = 1
    assert float(data["plane_gfs_sharpness"][i, j]) == pytest.approx(exact, rel=1e-12)
    w = data["w"].values[0]
    np.testing.assert_array_equal(w[0], config.init)
    np.testing.assert_allclose(w[1:], w[:-1] - 0.85 * (np.prod(w[:-1], axis=1) - 1)[:, None]
                               * w[:-1, ::-1], rtol=1e-12)  # fmt: skip
    for step in (0, 12):
        truth = tw.sharpness(tw.ScalarNetwork(2), jnp.asarray(w[step]))
        assert float(data["sharpness"][0, step]) == pytest.approx(truth, rel=1e-6)
    # At the edge: it starts above 2/η, zigzags across the minima, and ends below.
    assert run["monotonicity"]["verdict"] == "decreasing"
    assert float(data["gfs_sharpness"][0, 0]) > run["threshold"] > run["final"]["gfs_sharpness"]
    assert np.sum(np.diff(np.sign(np.prod(w, axis=1) - 1)) != 0) > 40
    figure = plot(data.assign_attrs(experiment="scalar-plane"))
    assert {"$w_1$", "$w_2$", "gradient descent step $t$"} <= labels(figure)
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "stable ones: flatter than $2/\\eta$" in shown


def test_a_path_that_diverges_says_so():
    data, runs = ScalarPlane(init=(3.0, 2.5), step_size=(0.1, 2.0), steps=30).compute()
    assert [run["status"] for run in runs] == ["completed", "diverged"]
    assert runs[1]["steps"] < 30
    plot(data.assign_attrs(experiment="scalar-plane"))


def test_hessian_products_are_those_of_the_problem():
    random = np.random.default_rng(0)
    w, v = random.uniform(0.5, 1.5, (2, 4))
    found = hessian_product(jnp.asarray(w)[:, None], jnp.asarray(v)[:, None], jnp.asarray(1.5))
    exact = tw.ScalarNetwork(4, 1.5).hessian(jnp.asarray(w))(jnp.asarray(v))
    np.testing.assert_allclose(found[:, 0], exact, rtol=1e-12)


def test_orbits_keep_what_is_asked_for():
    whole = scalar_orbits([[1.2, 0.5], [0.9, 0.4]], [0.1, 0.3], skip=0, keep=12).w
    late = scalar_orbits([[1.2, 0.5], [0.9, 0.4]], [0.1, 0.3], skip=8, keep=4).w
    assert whole.shape == (2, 12, 2)
    np.testing.assert_array_equal(late, whole[:, 8:])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ScalarSweepStudy(depth=()), "depth is empty"),
        (ScalarSweepStudy(depth=(3, 1)), "depth must be at least 2"),
        (ScalarSweepStudy(step_size=(0.1, -1.0)), "step_size must be positive"),
        (ScalarSweepStudy(starts=0), "starts must be at least 1"),
        (ScalarSweepStudy(spread=0.0), "spread must be positive"),
        (ScalarSweepStudy(starts=10_000_000), "choose fewer"),
        (ScalarBifurcation(depth=1), "depth must be at least 2"),
        (ScalarBifurcation(lowest=3.0, highest=2.0), "lowest must be below highest"),
        (ScalarBifurcation(kept=5), "kept must be at least 33"),
        (ScalarPlane(init=(1.0, -1.0)), "init must be positive"),
        (ScalarPlane(step_size=()), "step_size is empty"),
        (ScalarPlane(steps=0), "steps must be at least 1"),
    ],
)
def test_options_that_make_no_sense_write_nothing(config, message, tmp_path):
    with pytest.raises(ValueError, match=message) as caught:
        experiments.run(config, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert dataclasses.asdict(config)


@pytest.mark.slow
def test_a_certificate_is_printed_stored_and_marked(tmp_path, capsys):
    folder = tmp_path / "run"
    assert cli.main(["run", "scalar", "--certify", "--out", str(folder)]) == 0
    out = capsys.readouterr().out
    stored = results.load(folder)
    (run,) = stored.summary["runs"]
    config = experiments.Scalar()
    certificate = tw.certify(config.init, 0.25, config.steps)
    assert run["certificate"]["text"] == str(certificate)
    assert str(certificate) in out
    wanted = json.loads(to_json(certificate.summary()))
    assert {name: run["certificate"][name] for name in wanted} == wanted
    data = stored.dataset
    assert certificate.marks
    marks = list(zip(data["mark_step"].values, data["mark_label"].values, strict=True))
    assert marks == certificate.marks
    assert data["mark_run"].values.tolist() == [0] * len(marks)
    shown = [text.get_text() for text in plot(data).legends[0].get_texts()]
    assert all(any(label in text for text in shown) for _, label in marks)

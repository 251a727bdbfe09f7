"""What the explorer shows of a scalar network, against the package and against SciPy."""

import shlex
import time
from urllib.parse import parse_qsl

import jax.numpy as jnp
import numpy as np
import pytest
import tyro
from scipy.integrate import solve_ivp

import thalweg as tw
from thalweg.experiments import Scalar
from thalweg.explore.path import path
from thalweg.explore.plane import flow_lines, gfs_map, minima
from thalweg.explore.setting import PRESETS, Setting


@pytest.mark.parametrize("name", PRESETS)
def test_a_path_has_the_numbers_of_the_package(name):
    setting = PRESETS[name]
    found = path(setting)
    network = tw.ScalarNetwork(len(setting.init))
    w = np.array(setting.init)
    for step in range(3):
        at = jnp.asarray(found.w[step])
        np.testing.assert_allclose(found.w[step], w, rtol=1e-12)
        solution = tw.gradient_flow_solution(network, at)
        assert abs(found.gfs_sharpness[step] - solution.sharpness) <= 2 * found.error[step]
        np.testing.assert_allclose(found.limit[step], solution.w, rtol=1e-9)
        assert found.sharpness[step] == pytest.approx(float(network.sharpness(at)), rel=1e-12)
        assert found.loss[step] == pytest.approx(float(network(at)), rel=1e-9)
        others = np.array([np.prod(np.delete(w, i)) for i in range(len(w))])
        w = w - setting.step_size * (np.prod(w) - 1) * others


def test_presets_show_what_they_are_named_after():
    shown = {name: path(setting) for name, setting in PRESETS.items()}
    edge = shown["edge of stability"]
    assert np.all(np.diff(shown["stable"].loss) <= 0)
    assert np.any(np.diff(edge.loss) > 0)
    assert edge.sharpness.max() > PRESETS["edge of stability"].threshold
    assert edge.verdict.rises == 0
    cycle = shown["period two"].w[-20:]
    np.testing.assert_allclose(cycle[2:], cycle[:-2], atol=1e-5)
    assert np.abs(cycle[1] - cycle[0]).max() > 0.1
    late = np.prod(shown["chaos"].w[-100:], axis=1)
    assert len(np.unique(late.round(6))) > 90
    assert np.abs(late).max() < 3
    assert shown["φ rises"].verdict.verdict == "not decreasing"
    assert shown["φ rises"].gfs_sharpness[-1] > shown["φ rises"].gfs_sharpness[0]
    assert not any(found.lost for found in shown.values())


def test_a_theorem_holds_where_it_is_said_to_apply():
    for setting in PRESETS.values():
        found = path(setting)
        known = [text.startswith("theorem") for text in found.theorem[:-1]]
        rises = np.diff(found.gfs_sharpness) > found.error[1:] + found.error[:-1]
        assert not np.any(rises & np.array(known))
    assert path(PRESETS["φ rises"]).theorem[0].startswith("no theorem")


def test_a_run_that_is_lost_ends_where_it_can_still_be_shown():
    found = path(Setting((3.0, 2.9), 2.0, 50))
    assert found.lost
    assert 1 < len(found.w) < 50
    assert np.all(np.isfinite(found.loss))


def test_a_saddle_has_no_value():
    found = path(Setting((1.0, -1.0), 0.5, 5))
    assert np.isnan(found.gfs_sharpness[0])
    assert "saddle" in found.theorem[0]
    assert found.verdict.verdict == "undecided"


def field(_, w):
    return -(w[0] * w[1] - 1) * w[::-1]


@pytest.mark.parametrize("start", [(1.5, 0.3), (2.0, 1.7), (0.3, -1.2), (-2.0, -0.1), (1.0, 0.0)])
def test_a_flow_line_is_one_and_ends_at_the_limit(start):
    w = np.array([start])
    limit = np.asarray(tw.ScalarNetwork(2).flow_limits(w).limit)
    (line,) = flow_lines(w, limit, 40)
    np.testing.assert_array_equal(line[[0, -1]], [w[0], limit[0]])
    flow = solve_ivp(field, (0, 60), start, rtol=1e-10, atol=1e-12, dense_output=True)
    passed = flow.sol(np.linspace(0, 60, 200_000)).T
    distances = [np.linalg.norm(passed - point, axis=1).min() for point in line]
    assert max(distances) < 2e-3
    np.testing.assert_allclose(passed[-1], limit[0], atol=1e-8)


def test_the_map_is_constant_along_flow_lines():
    values = gfs_map(2.0, 41)
    axis = np.linspace(-2, 2, 41)
    x, y = np.meshgrid(axis, axis)
    np.testing.assert_allclose(values, np.sqrt((x**2 - y**2) ** 2 + 4), rtol=1e-12)


def test_minima_are_stable_below_the_threshold():
    curves = minima(3.0, 2.5)
    for curve, stable in curves:
        np.testing.assert_allclose(curve.prod(axis=1), 1)
        sharpness = np.sum(curve[1:-1] ** 2, axis=1)
        assert np.all((sharpness < 2.5) == stable)
    assert [stable for _, stable in curves] == [False, False, True, True, False, False]
    assert not any(stable for _, stable in minima(3.0, 1.9))


def test_an_address_gives_its_setting_back():
    for setting in PRESETS.values():
        assert Setting.at_address(dict(parse_qsl(setting.address))) == setting
    assert Setting.at_address({}) == PRESETS["stable"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"init": "1"}, "2 to 10 numbers"),
        ({"init": "1,x"}, "no number"),
        ({"init": "1,nan"}, "not finite"),
        ({"init": "1,1000"}, "within ±100"),
        ({"step_size": "0"}, "must be positive"),
        ({"steps": "100000"}, "1 to 400 steps"),
    ],
)
def test_an_address_that_cannot_be_shown_says_why(arguments, message):
    with pytest.raises(ValueError, match=message):
        Setting.at_address(arguments)


def test_the_command_makes_the_same_run():
    setting = PRESETS["edge of stability"]
    words = shlex.split(setting.command)
    assert words[:4] == ["thalweg", "run", "scalar", "--out"]
    made = tyro.cli(Scalar, args=words[5:], config=(tyro.conf.OmitArgPrefixes,))
    made.check()
    assert (made.init, made.step_size) == (setting.init, (setting.step_size,))
    assert (made.steps, made.gfs_every) == (setting.steps, 1)


@pytest.mark.slow
def test_depth_two_answers_within_a_tenth_of_a_second():
    setting = PRESETS["edge of stability"]
    path(setting)
    seconds = []
    for step in range(20):
        moved = Setting(setting.init, 0.5 + 0.01 * step, 60)
        begun = time.perf_counter()
        found = path(moved)
        flow_lines(found.w, found.limit)
        seconds.append(time.perf_counter() - begun)
    assert np.median(seconds) < 0.1

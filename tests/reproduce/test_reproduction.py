"""The reproduction: claims judged from stored results, rises looked at again, the report."""

import base64
import math
import re
from dataclasses import asdict, replace

import jax
import numpy as np
import pytest
import xarray as xr

from thalweg import experiments, flow
from thalweg.cli import main
from thalweg.experiments import Network, Scalar, SquaredRegressionExperiment
from thalweg.flow import Fall, Status
from thalweg.reproduce import large, reproduction
from thalweg.reproduce.case import Case
from thalweg.reproduce.cases import Size, cases
from thalweg.reproduce.claims import Verdict, judge, reaches_edge
from thalweg.reproduce.confirmation import Confirmation, confirm_rise
from thalweg.reproduce.report import PAPER_URL
from thalweg.runs import RunFolder, load, runner
from thalweg.runs.stored import command_of
from thalweg.verdict import monotonicity

THRESHOLD = 8.0


def run_of(gfs, sharpness, loss, error=1e-6, status="completed"):
    """Return results of one run as they are stored, and its summary."""
    errors = np.full(len(gfs), error)
    data = xr.Dataset(
        {
            "loss": ("step", np.asarray(loss, float)),
            "sharpness": ("sharpness_step", np.asarray(sharpness, float)),
            "gfs_sharpness": ("gfs_step", np.asarray(gfs, float)),
            "gfs_sharpness_error": ("gfs_step", errors),
            "gfs_status": ("gfs_step", np.zeros(len(gfs))),
        },
        coords={"threshold": THRESHOLD, "step_size": 2 / THRESHOLD, "gfs_step": range(len(gfs))},
    )
    summary = {
        "status": status,
        "final": {
            "sharpness": sharpness[-1],
            "gfs_sharpness": gfs[-1],
            "gfs_sharpness_error": error,
        },
        "monotonicity": monotonicity(gfs, errors).summary(),
    }
    return data, summary


def verdicts(*run):
    return [claim.verdict for claim in judge(*run)]


AT_EDGE = {"sharpness": [6.0, 9.0, 7.0, 7.9], "loss": [1.0, 0.1, 0.2, 1e-9]}


def test_a_run_as_in_the_paper_bears_all_claims_out():
    assert verdicts(*run_of([10.0, 9.0, 8.5, 7.9], **AT_EDGE)) == [Verdict.SHOWN] * 3


def test_a_certain_rise_is_a_failed_claim_with_its_size():
    claim = judge(*run_of([10.0, 9.0, 9.9, 7.9], **AT_EDGE))[0]
    assert claim.verdict is Verdict.FAILED
    assert "1 rises" in claim.evidence
    assert "it rises by 0.9 ± 2e-06 (10 %) from step 1 to 2; no rise exceeds" in claim.evidence


def test_a_rise_within_the_bars_is_undecided_and_one_of_rounding_is_not_counted():
    assert verdicts(*run_of([10.0, 8.0, 8.0, 7.9], **AT_EDGE, error=1e-3))[0] is Verdict.UNDECIDED
    assert verdicts(*run_of([10.0, 8.0, 8.0, 7.9], **AT_EDGE, error=1e-9))[0] is Verdict.SHOWN


def test_values_that_did_not_converge_show_nothing():
    data, summary = run_of([10.0, 8.0, 8.0, 7.9], **AT_EDGE, error=1e-9)
    data["gfs_status"][1] = 2.0
    assert judge(data, summary)[0].verdict is Verdict.UNDECIDED


@pytest.mark.parametrize(
    ("last", "sharpness", "error", "expected"),
    [
        (7.9, 7.9, 1e-6, Verdict.SHOWN),
        (8.1, 8.1, 1e-6, Verdict.FAILED),  # above the threshold
        (5.0, 5.0, 1e-6, Verdict.FAILED),  # far below it
        (7.999, 7.999, 0.1, Verdict.UNDECIDED),  # the bar reaches above it
        (7.9, 7.5, 1e-6, Verdict.UNDECIDED),  # not settled
        (8.005, 8.003, 1e-6, Verdict.UNDECIDED),  # not settled, so close to the threshold
    ],
)
def test_the_end_is_just_under_the_threshold_or_not(last, sharpness, error, expected):
    run = run_of([10.0, last], [7.0, 9.0, sharpness], [1.0, 2.0, 1e-9], error)
    assert verdicts(*run)[2] is expected


def test_a_run_that_ended_early_says_nothing_of_the_end():
    run = run_of([10.0, 9.0, 8.5, 7.9], **AT_EDGE, status="diverged")
    assert verdicts(*run)[2] is Verdict.UNDECIDED


def test_below_the_edge_another_claim_is_made():
    data, summary = run_of([6.0, 5.9], [5.0, 5.9], [1.0, 0.1, 0.01])
    assert not reaches_edge(data)
    assert [c.statement for c in judge(data, summary)][1].startswith("Below the stability")
    assert verdicts(data, summary) == [Verdict.SHOWN, Verdict.SHOWN]
    from_above = run_of([6.0, 5.9], [9.0, 5.9], [1.0, 0.1, 0.01])
    assert verdicts(*from_above) == [Verdict.SHOWN, Verdict.SHOWN]
    rising = run_of([6.0, 5.9], [5.0, 5.9], [1.0, 0.1, 0.2])
    assert verdicts(*rising)[1] is Verdict.FAILED


def test_a_loss_that_falls_all_the_way_at_the_edge_contradicts_the_claim():
    run = run_of([10.0, 9.0, 8.5, 7.9], [6.0, 9.0, 7.0, 7.9], [1.0, 0.1, 0.01, 1e-9])
    assert verdicts(*run)[1] is Verdict.FAILED


RISING = SquaredRegressionExperiment(
    data="random", samples=10, dimension=20, scale=0.1, step_size=(0.05,), steps=60, gfs_every=15
)


@pytest.mark.slow
def test_a_rise_is_solved_again_and_confirmed(tmp_path):
    runner.run(RISING, tmp_path / "run")
    stored = load(tmp_path / "run")
    found = confirm_rise(RISING, stored.dataset.isel(run=0))
    assert found.confirmed
    assert found.rtol == pytest.approx(0.1 * RISING.rtol)
    values = stored.dataset.isel(run=0).set_index(gfs_step="gfs_step")["gfs_sharpness"]
    for step, (value, error) in zip(found.steps, (found.before, found.after), strict=True):
        assert abs(float(values.sel(gfs_step=step)) - value) < 1e-9
        assert error < 1e-9
    assert found.rise[0] == pytest.approx(found.after[0] - found.before[0])
    assert "is confirmed" in str(found)


@pytest.mark.slow
def test_a_rise_that_only_the_measured_difference_shows_is_solved_again_too(tmp_path):
    runner.run(RISING, tmp_path / "run")
    data = load(tmp_path / "run").dataset.isel(run=0)
    rises = np.append(np.diff(data["gfs_sharpness"].values), np.nan)
    wide = data.assign(gfs_sharpness_error=data["gfs_sharpness_error"] + 10.0)
    assert confirm_rise(RISING, wide) is None
    known = wide.assign(
        gfs_fall=("gfs_step", -rises), gfs_fall_error=("gfs_step", np.full(rises.size, 1e-9))
    )
    found = confirm_rise(RISING, known)
    largest = int(np.nanargmax(rises))
    assert found.steps == tuple(data["gfs_step"].values[largest : largest + 2])
    assert found.confirmed
    assert found.rise[0] == pytest.approx(rises[largest], rel=1e-6)


@pytest.mark.slow
def test_flows_that_fail_confirm_nothing(tmp_path, monkeypatch):
    runner.run(RISING, tmp_path / "run")
    data = load(tmp_path / "run").dataset.isel(run=0)
    assert confirm_rise(RISING, data).confirmed
    exact = flow.gradient_flow_solution
    failed = Fall(math.nan, math.inf, Status.SADDLE, 0.0)
    monkeypatch.setattr(
        flow,
        "gradient_flow_solution",
        lambda *a, **k: replace(exact(*a, **k), status=Status.SADDLE),
    )
    monkeypatch.setattr(flow, "gfs_sharpness_fall", lambda *a, **k: failed)
    assert not confirm_rise(RISING, data).confirmed


def test_where_nothing_rises_nothing_is_solved_again():
    assert confirm_rise(RISING, run_of([3.0, 2.0, 2.0], [1.0], [1.0])[0]) is None


def test_a_rise_that_vanishes_at_a_tighter_accuracy_is_said_to():
    found = Confirmation((3, 5), (2.0, 0.1), (2.1, 0.1), (0.1, 0.2), 1e-5)
    assert not found.confirmed
    assert "NOT confirmed" in str(found)


@pytest.mark.parametrize("size", list(Size))
def test_studies_are_sound_and_their_commands_make_them_again(size, monkeypatch):
    monkeypatch.setattr(large, "_can_be_read", lambda images: True)
    chosen = cases(size, "images" if size is Size.FULL else None)
    names = [case.folder for case in chosen]
    assert len(set(names)) == len(names)
    for case in chosen:
        case.config.check()
        assert not case.config.relative_step_size
        parsed = []
        monkeypatch.setattr(
            "thalweg.cli.commands._run_experiment",
            lambda config, *_, to=parsed: to.append(config) or 0,
        )
        assert main(command_of(case.config, "DIR").split()[1:]) == 0
        assert parsed == [case.config]


def test_the_full_size_takes_the_images_that_are_there(monkeypatch):
    there = set()
    monkeypatch.setattr(large, "_can_be_read", lambda images: tuple(images) in there)
    with pytest.raises(ValueError, match=r"install .* dataset-fashion-mnist, or .* --data-dir"):
        cases(Size.FULL)
    small = cases(Size.DEFAULT)
    for place in (("mnist", None), ("fashion-mnist", None), ("mnist", "DIR"), ("cifar10", "DIR")):
        there.add(place)
        found = cases(Size.FULL, "DIR")
        assert found[: len(small)] == small
        networks = [(case.config.data, case.config.data_dir) for case in found[len(small) :]]
        assert networks[:3] == [("mnist", "DIR") if place[0] == "cifar10" else place] * 3
    assert networks[3:] == [("cifar10", "DIR")]


@pytest.mark.parametrize("case", large.large_cases([large.FoundImages("mnist", None)]))
def test_networks_of_the_full_size_are_of_a_size_worth_it(case):
    network = case.config.chosen
    shape = (case.config.image_size, case.config.image_size, 1)
    w = jax.eval_shape(lambda: network.init(jax.random.key(0), shape, 10))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(w))
    assert case.config.samples >= 500
    assert case.config.image_size >= 14
    assert parameters >= 10 * 10 * case.config.samples


TINY = Case("tiny", "A tiny <study>", "Nothing much.", Scalar(steps=5, gfs_every=1), 10.0)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(reproduction, "cases", lambda *_: [TINY])


def test_the_reports_hold_everything_and_nothing_from_outside(tiny, tmp_path):
    lines = []
    done = reproduction.reproduce(tmp_path / "out", Size.QUICK, announce=lines.append)
    page = (tmp_path / "out" / "report.html").read_text()
    text = (tmp_path / "out" / "report.md").read_text()
    claims = [claim for case in done for run in case.runs for claim in run.claims]
    assert claims
    for claim in claims:
        assert text.count(claim.statement) > 1  # among the verdicts, and with its evidence
        assert claim.evidence in text
        assert claim.statement in page
        assert claim.statement in text
    assert command_of(TINY.config, "DIR") in page
    assert re.findall(r'"(http[^"]*)"', page) == [PAPER_URL]  # a link, and nothing that is loaded
    assert "url(" not in page
    assert "<study>" not in page
    ids = set(re.findall(r' id="([^"]*)"', page))
    links = set(re.findall(r'href="#([^"]*)"', page))
    assert links <= ids
    assert {"overview", "verdicts", "tiny", "figure-tiny", "tiny-1-1", "cost", "paper"} <= links
    drawings = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', page)
    assert len(drawings) == 2  # the overview first
    assert all(b"</svg>" in base64.b64decode(drawing) for drawing in drawings)
    assert page.index('id="figure-overview"') < page.index('id="verdicts"')
    assert page.count("<strong>GFS sharpness</strong>") == 1
    assert "![Overview" in text
    assert (tmp_path / "out" / "overview.png").exists()
    assert (tmp_path / "out" / "tiny" / "figure.png").exists()
    assert len(lines) == 2


@pytest.mark.slow
def test_what_has_finished_is_not_run_again(tiny, tmp_path, monkeypatch):
    reproduction.reproduce(tmp_path, Size.QUICK)
    before = (tmp_path / "tiny" / "result.nc").stat().st_mtime_ns
    reproduction.reproduce(tmp_path, Size.QUICK)
    assert (tmp_path / "tiny" / "result.nc").stat().st_mtime_ns == before
    reproduction.reproduce(tmp_path, Size.QUICK, overwrite=True)
    assert (tmp_path / "tiny" / "result.nc").stat().st_mtime_ns > before


def test_another_configuration_is_not_overwritten(tiny, tmp_path, monkeypatch):
    reproduction.reproduce(tmp_path, Size.QUICK)
    other = replace(TINY, config=Scalar(steps=6, gfs_every=1))
    monkeypatch.setattr(reproduction, "cases", lambda *_: [other])
    with pytest.raises(FileExistsError, match="--overwrite"):
        reproduction.reproduce(tmp_path, Size.QUICK)


@pytest.mark.slow
def test_a_stopped_study_is_reported_and_run_again(tiny, tmp_path):
    done = reproduction.reproduce(tmp_path, Size.QUICK, report=lambda progress: True)
    assert [run.summary["status"] for run in done[0].runs] == ["stopped"]
    done = reproduction.reproduce(tmp_path, Size.QUICK)
    assert [run.summary["status"] for run in done[0].runs] == ["completed"]


@pytest.mark.slow
def test_step_sizes_that_were_chosen_are_those_of_the_case(tmp_path, monkeypatch):
    options = {"widths": (3,), "samples": 10, "image_size": 2, "steps": 3, "gfs_at": (0, 3)}
    case = replace(TINY, config=Network(architecture="mlp", **options))
    monkeypatch.setattr(reproduction, "cases", lambda *_: [case])
    lines = []
    reproduction.reproduce(tmp_path, Size.FULL, announce=lines.append)
    assert any(line.startswith("choosing step sizes") for line in lines)
    assert len(load(tmp_path / "tiny").config["step_size"]) == 3
    again = []
    reproduction.reproduce(tmp_path, Size.FULL, announce=again.append)
    assert "finished before" in again[0]
    assert reproduction.estimated_seconds([case]) > 0


def test_a_study_that_was_killed_before_it_had_results_goes_on(tiny, tmp_path):
    config = {"experiment": TINY.config.name, **asdict(TINY.config)}
    RunFolder.create(tmp_path / "tiny").write_config(config)
    lines = []
    done = reproduction.reproduce(tmp_path, Size.QUICK, announce=lines.append)
    assert "continued" in lines[0]
    assert [run.summary["status"] for run in done[0].runs] == ["completed"]


@pytest.mark.slow
def test_of_a_run_that_was_not_begun_nothing_is_claimed(tmp_path, monkeypatch):
    two = replace(TINY, config=Scalar(steps=5, gfs_every=1, step_size=(0.1, 0.2)))
    monkeypatch.setattr(reproduction, "cases", lambda *_: [two])
    done = reproduction.reproduce(tmp_path, Size.QUICK, report=lambda progress: True)
    assert [run.summary["status"] for run in done[0].runs] == ["stopped", "stopped"]
    assert done[0].runs[1].claims == []
    assert "The run was not begun" in (tmp_path / "report.html").read_text()


def test_contradicting_sizes_are_one_line(tmp_path, capsys):
    assert main(["reproduce", "--out", str(tmp_path / "no"), "--quick", "--full"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["reproduce", "--out", str(tmp_path / "no"), "--data-dir", "x"]) == 2
    assert "--data-dir is for --full" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_the_time_is_estimated_from_gradients_timed_now(tiny):
    assert 0 < reproduction.estimated_seconds([TINY]) < 60


def test_every_experiment_has_a_command():
    for kind in experiments.EXPERIMENTS.values():
        assert command_of(kind(), "DIR") == f"thalweg run {kind.name} --out DIR"

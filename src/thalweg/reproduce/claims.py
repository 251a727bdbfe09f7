"""The claims about gradient descent that a stored run can bear out or contradict.

Three claims, from the paper of Kreisler, Shpigel Nacson, Soudry and Carmon (ICML 2023), in the
words of this package: the gross picture, not the wording of any theorem. Each is judged from what
was measured, and has three possible verdicts: what the error bars leave open is not called shown.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from thalweg.basics.settled import settled
from thalweg.runs.wording import describe_rise

LEVEL = 1e-6
"""Rises of this size, relative to the GFS sharpness, may be left open: it has become constant."""

JUST_UNDER = 0.9
"""Where "just under" the stability threshold begins, as a share of it."""

SETTLED, SHARE = 1e-3, 0.1
"""A run has settled once sharpness and GFS sharpness agree to these shares: of the latter, and of
its distance from the stability threshold."""

ROUNDING = 1e-24
"""Rises of the loss below this share of its first value are rounding, at a minimum of zero."""


class Verdict(StrEnum):
    """Whether the evidence bears a claim out."""

    SHOWN = "shown"
    UNDECIDED = "undecided"
    FAILED = "failed"


@dataclass(frozen=True)
class Claim:
    """A claim about one run, sentences with the numbers that it was judged by, and the verdict."""

    statement: str
    evidence: str
    verdict: Verdict


def judge(
    data: xr.Dataset, summary: dict[str, Any], confirmation: str | None = None
) -> list[Claim]:
    """Return the claims that apply to one run, judged; none where nothing has been measured.

    `data` are its stored results, at one entry of `run`; `summary` is its entry in `summary.json`;
    `confirmation`, a sentence on the GFS sharpness having risen, where it was looked at again.
    """
    if not _known(data, "sharpness").size:
        return []
    claims = [_falls(data, summary, confirmation)]
    if reaches_edge(data):
        claims += [_others_do_not(data), _ends_under(data, summary)]
    else:
        claims.append(_stays_under(data))
    return claims


def reaches_edge(data: xr.Dataset) -> bool:
    """Whether the measured sharpness rose to the stability threshold `2 / step_size`.

    A run that only begins above it is not meant: the first steps may bring it down for good.
    """
    above = _known(data, "sharpness") >= float(data["threshold"])
    return bool(np.any(above[1:] & ~above[:-1]))


def _falls(data: xr.Dataset, summary: dict[str, Any], confirmation: str | None) -> Claim:
    found = summary["monotonicity"]
    values = _known(data, "gfs_sharpness")
    steps = found["falls"] + found["rises"] + found["undecided"]
    rise = found["largest_possible_rise"]
    evidence = (
        f"Of {steps} steps from one measured value to the next, {found['falls']} are falls, "
        f"{found['rises']} rises, and {found['undecided']} left open by the error bars"
    )
    if values.size:
        evidence += f"; from {values[0]:.5g} to {values[-1]:.5g}"
    if described := describe_rise(found):
        evidence += f"; {described}"
    elif found["undecided"] and rise is not None:
        evidence += (
            f"; none of these can be a rise by more than {rise / values[-1]:.1g}, relatively"
        )
    if missing := int(np.sum(data["gfs_status"].values > 0)):
        evidence += f"; flows that did not converge: {missing}"
    if found["verdict"] == "not decreasing":
        verdict = Verdict.FAILED
    elif found["verdict"] == "decreasing":
        verdict = Verdict.SHOWN
    else:
        constant = steps > 0 and rise is not None and rise <= LEVEL * values[-1]
        verdict = Verdict.SHOWN if constant and not missing else Verdict.UNDECIDED
    evidence = f"{evidence}. {confirmation}" if confirmation else f"{evidence}."
    return Claim("The GFS sharpness never rises", evidence, verdict)


def _others_do_not(data: xr.Dataset) -> Claim:
    losses, sharpness = _known(data, "loss"), _known(data, "sharpness")
    rises = _rises(losses)
    crossings = int(np.sum(np.diff(sharpness >= float(data["threshold"]))))
    evidence = (
        f"The loss rose at {rises} of {losses.size - 1} steps; the measured sharpness rose "
        f"{_rises(sharpness)} times of {sharpness.size - 1}, up to "
        f"{sharpness.max():.5g}, and crossed 2/η {crossings} times."
    )
    both = rises > 0 and _rises(sharpness) > 0
    verdict = Verdict.SHOWN if both else Verdict.FAILED
    return Claim("Loss and sharpness do not fall monotonically", evidence, verdict)


def _ends_under(data: xr.Dataset, summary: dict[str, Any]) -> Claim:
    statement = "Gradient descent ends with a GFS sharpness just under 2/η"
    value, error = summary["final"]["gfs_sharpness"], summary["final"]["gfs_sharpness_error"]
    sharpness, threshold = summary["final"]["sharpness"], float(data["threshold"])
    if summary["status"] != "completed":
        return Claim(statement, f"The run ended early: {summary['status']}.", Verdict.UNDECIDED)
    if value is None or error is None or sharpness is None:
        return Claim(statement, "The last value is not known.", Verdict.UNDECIDED)
    share, bar = value / threshold, error / threshold
    evidence = f"The last value is {share:.5f} ± {bar:.1g} of 2/η"
    apart = abs(value - sharpness)
    if apart > min(SETTLED * value, SHARE * abs(value - threshold)):
        now = sharpness / threshold
        evidence += f", but the run has not settled yet: the sharpness is {now:.5f} of it."
        return Claim(statement, evidence, Verdict.UNDECIDED)
    if share + bar < JUST_UNDER or share - bar > 1:
        verdict = Verdict.FAILED
    else:
        verdict = Verdict.SHOWN if share + bar <= 1 else Verdict.UNDECIDED
    return Claim(statement, evidence + ".", verdict)


def _stays_under(data: xr.Dataset) -> Claim:
    losses, highest = _known(data, "loss"), _known(data, "sharpness").max()
    rises = _rises(losses)
    evidence = (
        f"The highest measured sharpness is {highest / float(data['threshold']):.3f} of 2/η; the "
        f"loss rose at {rises} of {losses.size - 1} steps."
    )
    verdict = Verdict.SHOWN if rises == 0 else Verdict.FAILED
    return Claim("Below the stability threshold the loss falls at every step", evidence, verdict)


def _known(data: xr.Dataset, name: str) -> NDArray[np.float64]:
    """Return what is known of a variable; a sharpness only where eigensolver or flow settled."""
    found = data[name] if name == "loss" else settled(data, name)
    values: NDArray[np.float64] = found.values.astype(float)
    return values[np.isfinite(values)]


def _rises(values: NDArray[np.float64]) -> int:
    return int(np.sum(np.diff(values) > ROUNDING * abs(values[:1])))

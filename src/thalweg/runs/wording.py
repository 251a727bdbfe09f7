"""What a summary says, in words: for what is printed and for the report."""

from collections.abc import Mapping, Sequence
from typing import Any


def describe_rise(found: Mapping[str, Any]) -> str | None:
    """Return where a measured sharpness rises, by how much, and what comes after; or `None`.

    `found` is the entry `monotonicity` of a run in `summary.json`.

    >>> rise = {"size": 0.0154, "error": 0.0024, "relative": 0.00126, "between": [0, 50]}
    >>> fall = {"size": 3.1, "error": 0.002, "relative": 0.254, "between": [0, 9000]}
    >>> print(describe_rise({"largest_rise": rise, "net_fall": fall, "decreasing_from": 50}))
    it rises by 0.0154 ± 0.002 (0.13 %) from step 0 to 50; no rise exceeds its bars from step 50 on;
    in all it falls by 3.1 (25 %)
    """
    rise, fall = found.get("largest_rise"), found.get("net_fall")
    if rise is None:
        return None
    begin, end = rise["between"]
    phrases = [
        f"it rises by {rise['size']:.3g} ± {rise['error']:.1g}{_share(rise)} "
        f"from step {begin} to {end}"
    ]
    if (step := found["decreasing_from"]) is not None:
        phrases.append(f"no rise exceeds its bars from step {step} on")
    if fall is not None:
        verb = "falls" if fall["size"] >= 0 else "rises"
        phrases.append(f"in all it {verb} by {abs(fall['size']):.3g}{_share(fall)}")
    return "; ".join(phrases)


def describe_run(run: Mapping[str, Any]) -> str:
    """Return a line on a run, from its entry in `summary.json`."""
    final, counts = run["final"], run["monotonicity"]
    rise = describe_rise(counts)
    return (
        f"step size {run['step_size']:.5g}, 2/η = {run['threshold']:.5g}: {run['status']}, "
        f"loss {describe_number(final['loss'], '.5g')}, "
        f"GFS sharpness {describe_number(final['gfs_sharpness'], '.5g')}: "
        f"{counts['verdict']} ({counts['falls']} falls, {counts['rises']} rises, "
        f"{counts['undecided']} undecided)" + (f"; {rise}" if rise else "")
    )


def describe_number(value: float | None, form: str, unknown: str = "unknown") -> str:
    """Return a number in a format, or that it is not known."""
    return unknown if value is None else format(value, form)


def run_name(run: Mapping[str, Any]) -> str:
    """Return how a run is called, from its entry in `summary.json`.

    >>> run_name({"seed": 3, "step_size": 0.25})
    'seed 3, step size 0.25'
    """
    start = [f"{kind} {run[kind]}" for kind in ("seed", "start") if kind in run]
    size = run["step_size"]
    return ", ".join([*start, *([] if size is None else [f"step size {size:g}"])])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for each row, with columns of equal width.

    >>> aligned([["step", "loss"], ["10", "0.5"]])
    ['step  loss', '10    0.5']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _share(change: Mapping[str, Any]) -> str:
    relative = change["relative"]
    return "" if relative is None else f" ({100 * abs(relative):.2g} %)"

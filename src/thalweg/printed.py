"""What the command line prints of a summary: a few lines."""

from typing import Any

from thalweg.experiments.wording import rise_told


def table(summary: dict[str, Any]) -> str:
    """Return the few lines that are printed at the end."""
    limit = "truncated sharpness" if "truncated" in summary["runs"][0] else "GFS sharpness"
    head = ("step size", "2/η", "steps", "status", "loss", "sharpness", limit, "verdict")
    rows = [head, *(_row(run) for run in summary["runs"])]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    rises = [(run, rise_told(_of_limit(run)["monotonicity"])) for run in summary["runs"]]
    told = [f"step size {run['step_size']:g}, {limit}: {rise}" for run, rise in rises if rise]
    advice = [
        f"step size {run['step_size']:g}: {a}" for run in summary["runs"] for a in run["advice"]
    ]
    work = (
        f"{summary['seconds']:.1f} s, {summary['gradient_evaluations']:,.0f} gradient evaluations"
    )
    certificates = [
        f"\nCertificate, step size {run['step_size']:g}:\n{run['certificate']['text']}"
        for run in summary["runs"]
        if "certificate" in run
    ]
    return "\n".join(line.rstrip() for line in (*lines, *told, *advice, work, *certificates))


def _row(run: dict[str, Any]) -> tuple[str, ...]:
    final, limit = run["final"], _of_limit(run)
    value, error, steps = limit["sharpness"], limit["sharpness_error"], limit["monotonicity"]
    return (
        f"{run['step_size']:g}",
        _number(run["threshold"], ".5g"),
        str(run["steps"]),
        run["status"],
        _number(final["loss"], ".3g"),
        _number(final["sharpness"], ".5g"),
        f"{_number(value, '.6g')} ± {_number(error, '.1g')}",
        f"{steps['verdict']} ({steps['falls']} falls, {steps['rises']} rises, "
        f"{steps['undecided']} undecided)",
    )


def _of_limit(run: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of the truncated sharpness where it was measured, else of the GFS's."""
    if "truncated" in run:
        return run["truncated"]
    final = run["final"]
    return {
        "sharpness": final["gfs_sharpness"],
        "sharpness_error": final["gfs_sharpness_error"],
        "monotonicity": run["monotonicity"],
    }


def _number(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)

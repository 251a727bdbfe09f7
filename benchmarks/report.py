"""Render what the benchmarks measured as a page and figures.

    python benchmarks/report.py

Reads `peers.json`, `calibration.json`, `fresh.json` and `growth.json`, as far as they exist, and
writes `docs/benchmarks.md` with the figures beside it. Its last parts are `waiting.md` and
`survival.md`, as they are: what `compiling.py`, `kills.py` and `survival_cost.py` have printed.
"""

import json
from pathlib import Path

import numpy as np

import report_figures as figures
from calibration import RESULTS as CALIBRATION
from calibration import Result, percent
from fresh import HEADER, judge, table_rows
from fresh import RESULTS as FRESH
from fresh import Result as FreshResult
from fresh_references import read_references
from growth import RESULTS as GROWTH
from growth import slope, steepest
from peer_methods import PEERS
from peers import ACCURACIES, OWN
from peers import RESULTS as COMPARISON

DOCS = Path(__file__).parents[1] / "docs"
AS_IT_IS = [Path(__file__).with_name(name) for name in ("waiting.md", "survival.md")]
METHODS = (OWN, *PEERS)


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def machine(results):
    described = ", ".join(f"{key} {value}" for key, value in results["machine"].items())
    return f"Measured on: {described}.\n"


def cell(entry, accuracy):
    """Return evaluations and seconds; or why there are none, and the best error."""
    if entry is None:
        return ""
    if not entry["fits"]:
        return "does not fit"
    found = entry["reached"].get(f"{accuracy:g}")
    if found:
        return f"{found['evaluations']:,.0f} / {seconds(found['seconds'])}"
    best = entry["best_error"]
    return "—" if best is None or best > 10 else f"— ({best:.0e})"


def seconds(value):
    return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"


def comparison(results):
    budgets = {
        (entry["budget"]["seconds"], entry["budget"]["evaluations"])
        for flow in results["flows"].values()
        for entry in flow["methods"].values()
    }
    limits = "; ".join(f"{s:g} s and {n:,.0f} evaluations" for s, n in sorted(budgets))
    yield f"""## Other methods on the hard flows

Gradient evaluations and seconds to reach a true relative error of the GFS sharpness. A peer follows
the flow at its best tolerance, and is stopped by somebody who knows the answer: the first moment
after which its error stays small is its cost. It needs no rule to stop by and no error bar. thalweg
stops by itself, at `rtol` equal to the error asked for, and the work for its error bar is counted,
which is unfair to it on purpose.

Evaluations are by the fixed table of costs (a dense Hessian is two evaluations for each parameter,
a factorisation counts in seconds only; iterations inside Kvaerno5 are not counted beyond one for
each stage); seconds are without compilation. λ is the sharpness. "—" with the last error: not
reached, because the budget of a trajectory ended ({limits}), or because the method settles
somewhere else, or diverges.
"""
    yield machine(results)
    for accuracy in ACCURACIES:
        yield f"### Error {accuracy:g}\n"
        rows = [
            [name, f"{flow['parameters']:,}"]
            + [cell(flow["methods"].get(method), accuracy) for method in METHODS]
            for name, flow in results["flows"].items()
        ]
        yield table(["flow", "parameters", *METHODS], rows)
    figures.comparison(results, METHODS, 1e-4).savefig(DOCS / "benchmarks.png")
    yield "![Seconds to an error of 1e-4, by flow and method](benchmarks.png)\n"
    yield "### Compilation, seconds\n\nWhat two methods share is counted with the first of them.\n"
    rows = [
        [name] + [compilation(flow["methods"].get(method)) for method in METHODS]
        for name, flow in results["flows"].items()
    ]
    yield table(["flow", *METHODS], rows)


def compilation(entry):
    return f"{entry['compile_seconds']:.1f}" if entry and entry["fits"] else ""


def calibration(rows):
    results = [Result(**row) for row in rows]
    yield """## Error bars

Random small networks, data, starts and accuracies against independent references. "Covered": the
true error is within the bar, where one is claimed. "Overestimate": median of bar over error.
"Accurate": the true relative error meets `rtol`, where the flow converged. "default": the method
that is taken where none is named. `exponential` has only cases that can be fitted, and
`exponential_rosenbrock` those of up to 64 parameters.
"""
    lines = []
    for method in dict.fromkeys(r.method for r in results):
        mine = [r for r in results if r.method == method]
        claims, converged = [r for r in mine if r.claims], [r for r in mine if r.converged]
        ratios = [r.sharpness_error / max(r.error, 1e-300) for r in claims]
        lines.append(
            [
                method,
                len(mine),
                percent([r.converged for r in mine]),
                percent([r.covered for r in claims]),
                f"{np.median(ratios):.1f}" if ratios else "-",
                percent([r.accurate for r in converged]),
            ]
        )
    yield table(["method", "cases", "converged", "covered", "overestimate", "accurate"], lines)
    figures.calibration(results).savefig(DOCS / "calibration.png")
    yield "![True error over error bar](calibration.png)\n"


def fresh(rows):
    results = {(row["kind"], row["seed"]): FreshResult(**row) for row in rows}
    judged = judge(results, read_references())
    yield """## Fresh problems

What `benchmarks/fresh.py` found on problems that nothing was tuned for, with the defaults:
statuses, and answers whose bar does not reach the reference (where Radau and LSODA agree, with
dense Hessians). "Settled otherwise": with another bar than asked for, or as a set. "Endless": flows
that have no limit, or end in a saddle. Where the gradient jumps, the reference is a set.
"""
    yield table(list(HEADER), table_rows(judged))
    yield "".join(
        f"- {j.fault}: {j.result.kind} {j.result.seed}, {j.result.sharpness:.6g} ± "
        f"{j.result.sharpness_error:.2g}\n"
        for j in judged
        if j.fault
    )


EXPLAINED = {
    "parameters": "tanh networks of more and more units, 100 digits",
    "samples": "a tanh network of two layers of 32 units, more and more digits",
    "stiffness": "a flow of 30 parameters with a prescribed spectrum, slowest mode ever slower",
    "iterates": "neighbouring iterates of one GD run, each helped by the one before, or each alone",
    "lanes": "eight flows followed side by side, in ever more lanes",
}


def growth(results):
    yield "## Growth\n"
    yield """Slopes of straight lines through the points on log-log axes, all at rtol 1e-4; for
evaluations also the slope between the two neighbouring points where it is largest. Flows that were
given up (hollow in the figure) are left out.
"""
    yield machine(results)
    lines = [
        [EXPLAINED[name], curve]
        + [f"{x:z.2f}" for x in (slope(rows), steepest(rows), slope(rows, "seconds"))]
        for name in EXPLAINED
        for curve, rows in results.get(name, {}).items()
    ]
    header = ["with", "how", "evaluations", "steepest part", "seconds"]
    yield table(header, lines)
    figures.growth({name: results[name] for name in EXPLAINED if name in results}).savefig(
        DOCS / "growth.png"
    )
    yield "![Cost against size](growth.png)\n"


PARTS = {COMPARISON: comparison, CALIBRATION: calibration, FRESH: fresh, GROWTH: growth}


def main():
    parts = ["# Benchmarks\n", "Written by `python benchmarks/report.py`.\n"]
    for path, render in PARTS.items():
        if path.exists():
            parts += render(json.loads(path.read_text()))
    parts += [path.read_text() for path in AS_IT_IS]
    (DOCS / "benchmarks.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()

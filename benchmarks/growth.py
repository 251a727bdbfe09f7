"""How the cost of a GFS sharpness grows: with parameters, samples, stiffness, iterates, lanes.

    python benchmarks/growth.py [parameters samples stiffness iterates lanes]

Writes `growth.json`, experiment by experiment, and prints slopes on log-log axes; `report.py` draws
them. Second calls are timed: the first compiles.
"""

import json
import sys
from functools import partial
from pathlib import Path
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np

import thalweg as tw
from hard_flows import (
    MAIN_STEP_SIZE,
    digits_network,
    gradient_descent,
    scalar_network,
    sine,
    squared_regression,
    tanh_digits,
)
from machine import machine

RESULTS = Path(__file__).with_name("growth.json")
RTOL = 1e-4
WIDTHS = (16, 32, 64, 128)
SAMPLES = (50, 100, 200, 400)
STIFFNESSES = (1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
ITERATES = (1, 2, 4, 8)
LANES = (1, 2, 4, 8)
APART = 25  # steps of gradient descent between neighbouring iterates
METHODS = {
    "default": None,
    "stabilized": tw.flow.Stabilized(),
    "exponential": tw.flow.Exponential(),
}


def timed(solve):
    """Return what `solve` returns the second time, and the seconds that took."""
    solve()
    begin = perf_counter()
    return solve(), perf_counter() - begin


def point(size, problem, w, method=None):
    """Return the cost of one GFS sharpness as a row."""
    s, seconds = timed(lambda: tw.gradient_flow_solution(problem, w, rtol=RTOL, method=method))
    return {
        "size": size,
        "evaluations": s.gradient_evaluations,
        "seconds": seconds,
        "sharpness": s.sharpness,
        "status": s.status.name,
        "method": s.method,
    }


def count(w):
    return sum(leaf.size for leaf in jax.tree.leaves(w))


def parameters():
    """Widen a network on 100 digits."""
    flows = [digits_network(jnp.tanh, (width, width), 100, 0.1, 300) for width in WIDTHS]
    return {"default": [point(count(flow.w), flow.problem, flow.w) for flow in flows]}


def samples():
    """Show more and more digits to a network of two layers of 32 units."""
    flows = [digits_network(jnp.tanh, (32, 32), n, 0.1, 300) for n in SAMPLES]
    rows = zip(SAMPLES, flows, strict=True)
    return {"default": [point(n, flow.problem, flow.w) for n, flow in rows]}


def rotated_squares(w, x):
    return x @ w**2


def stiff_flow(stiffness, size=30):
    """Return a flow whose spectrum at the limit is prescribed, and where it starts.

    Residuals `S^½ Q (w∘w - 1)`, `Q` orthogonal, end at `w = 1` with the Hessian `4 Qᵀ S Q`, and
    `S` falls from 1 to `1 / stiffness`: the sharpness is 4, and settles with the slowest mode.
    """
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.standard_normal((size, size)))[0]
    x = np.sqrt(size * np.geomspace(1, 1 / stiffness, size))[:, None] * rotation
    start = 1 + 0.3 * rng.standard_normal(size)
    problem = tw.Supervised(rotated_squares, jnp.asarray(x), jnp.asarray(x.sum(axis=1)))
    return problem, jnp.asarray(start)


def stiffness():
    """Slow down the slowest mode of a flow of 30 parameters more and more; it ends at 4."""
    curves = {}
    for name, method in METHODS.items():
        rows = [point(ratio, *stiff_flow(ratio), method) for ratio in STIFFNESSES]
        curves[name] = [{**row, "error": abs(row["sharpness"] / 4 - 1)} for row in rows]
    return curves


def neighbours(flow, number):
    """Return so many iterates of gradient descent on the main job, from the start of `flow` on."""
    descend = jax.jit(lambda w: gradient_descent(flow.problem, w, MAIN_STEP_SIZE, APART)[0])
    ws = [flow.w]
    for _ in range(number - 1):
        ws.append(descend(ws[-1]))
    return ws


def iterates():
    """Solve for M neighbouring iterates of the main job: each helped by the last, or alone."""
    flow = tanh_digits(1000)
    ws = neighbours(flow, max(ITERATES))
    tw.gradient_flow_solution(flow.problem, flow.w, rtol=RTOL)  # compiles
    curves = {}
    for name, helped in {"with previous": True, "separate": False}.items():
        rows, solutions, begin = [], [], perf_counter()
        for m, w in enumerate(ws, start=1):
            previous = solutions[-1] if helped and solutions else None
            solutions.append(
                tw.gradient_flow_solution(flow.problem, w, rtol=RTOL, previous=previous)
            )
            if m in ITERATES:
                rows.append(several(m, solutions, perf_counter() - begin))
        curves[name] = rows
    return curves


def around(flow, number):
    """Return so many starts, every number of them within some 5 % of those of `flow`."""
    keys = jax.random.split(jax.random.key(0), number)
    return [
        jax.tree.map(lambda a, key=key: a * (1 + 0.05 * jax.random.normal(key, a.shape)), flow.w)
        for key in keys
    ]


def lanes():
    """Follow eight flows side by side, in ever more lanes."""
    main, small = tanh_digits(1000), (sine, squared_regression, scalar_network)
    flows = {"tanh digits": (main.problem, neighbours(main, max(LANES)))}
    for make in small:
        flow = make()
        flows[make.__name__.replace("_", " ")] = flow.problem, around(flow, max(LANES))
    return {name: [lane_point(size, *flow) for size in LANES] for name, flow in flows.items()}


def lane_point(size, problem, ws):
    """Return the cost of all flows together, so many lanes wide, as a row."""
    solve = partial(tw.gradient_flow_solutions, problem, ws, rtol=RTOL, lanes=size)
    return several(size, *timed(solve))


def several(size, solutions, seconds):
    """Return the cost of several GFS sharpnesses as a row."""
    return {
        "size": size,
        "evaluations": sum(s.gradient_evaluations for s in solutions),
        "seconds": seconds,
        "sharpness": [s.sharpness for s in solutions],
        "status": " ".join(sorted({s.status.name for s in solutions})),
    }


EXPERIMENTS = {
    "parameters": parameters,
    "samples": samples,
    "stiffness": stiffness,
    "iterates": iterates,
    "lanes": lanes,
}


def has_settled(row):
    """Whether a row is what a GFS sharpness costs, and not what it took to give one up."""
    return row["status"] == "CONVERGED"


def logarithms(rows, what):
    """Return the logarithms of the sizes and of the costs of the flows that settled."""
    return np.log([[row["size"], row[what]] for row in rows if has_settled(row)]).T


def slope(rows, what="evaluations"):
    """Return the slope of a straight line through the rows on log-log axes."""
    return float(np.polyfit(*logarithms(rows, what), 1)[0])


def steepest(rows):
    """Return the largest slope of evaluations from one row to the next, on log-log axes."""
    sizes, costs = logarithms(rows, "evaluations")
    return float(np.max(np.diff(costs) / np.diff(sizes)))


def main():
    jax.config.update("jax_enable_x64", True)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results["machine"] = machine()
    for name in sys.argv[1:] or EXPERIMENTS:
        results[name] = EXPERIMENTS[name]()
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        for curve, rows in results[name].items():
            for row in rows:
                error = f", error {row['error']:.1e}" if "error" in row else ""
                print(
                    f"{name}, {curve}, {row['size']:g}: {row['evaluations']:.0f} evaluations, "
                    f"{row['seconds']:.2f} s{error} {row.get('method', '')} {row.get('status', '')}"
                )
            print(
                f"{name}, {curve}: slope {slope(rows):.2f} of evaluations "
                f"(steepest {steepest(rows):.2f}), {slope(rows, 'seconds'):.2f} of seconds",
                flush=True,
            )


if __name__ == "__main__":
    main()

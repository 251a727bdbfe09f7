"""When the GFS sharpness rises under gradient descent: runs of every setting, and where they rise.

    python benchmarks/rises.py [census scalar regression network main small-steps]

Writes `rises.json`, part by part (minutes, most of them for networks), and then the table of
`docs/rises.md` and its figure, by `rises_page.py`. A rise counts where the two error bars do not
touch: `φ_j - e_j > φ_i + e_i` for a later `j`.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import rises_page
import thalweg as tw
from machine import machine
from thalweg.experiments import DigitsMLP, Network, Scalar, SquaredRegressionExperiment
from thalweg.scalar.sharpness import top_eigenvalue
from thalweg.scalar.trace import followed
from thalweg.verdict import Step

RESULTS = Path(__file__).with_name("rises.json")

STARTS, STEPS = 150, 200  # of the census, at each depth and multiple
DEPTHS = (2, 3, 4, 5)
MULTIPLES = (0.01, 0.05, 0.25, 0.5, 0.9, 1.1, 1.4, 1.75, 2.5)  # of 2 / sharpness at the start
LARGEST_LOSS = 1e6  # above it, in units of the start's or of 1, a run is lost
ROUNDING = 1e-9  # relative, of the value after a step that is itself rounded

FIRST = (1, 2, 5, 10, 20, 50, 100)  # steps at which networks are measured first


class Case(NamedTuple):
    """Runs from one start: `multiples` are step sizes in units of 2 / φ at the start."""

    label: str
    experiment: Any
    multiples: Sequence[float] = ()
    steps: int = 300
    measured: tuple[int, ...] = ()  # where φ is measured, and at the end; else at every step


def scalar() -> list[Case]:
    """Return products of 2 to 5 numbers, from far below the edge to a start far above 2/η."""
    cases = []
    for depth in DEPTHS:
        experiment = Scalar(depth=depth)
        cases.append(Case(f"scalar, depth {depth}", experiment, (0.05, 0.6, 1.2, 1.8)))
    return cases


def regression() -> list[Case]:
    """Return squared regression from several scales of the start, on several data; depth 3."""
    kind = SquaredRegressionExperiment
    return [
        *(
            Case(f"regression, sparse, scale {scale:g}", kind(scale=scale), multiples)
            for scale, multiples in (
                (0.03, (0.1, 0.6, 1.05)),
                (0.1, (0.1, 0.6, 1.1, 1.3)),
                (0.3, (0.1, 0.75, 1.5, 1.8)),
                (1.0, (0.1, 0.6, 1.24)),
            )
        ),
        Case("regression, sparse, other data", kind(seed=1), (0.25, 0.8, 1.3, 1.6)),
        Case("regression, random", kind(data="random"), (0.09, 0.45, 0.9, 1.1)),
        Case("regression, diabetes", kind(data="diabetes"), (0.27, 1.12)),
        Case("diagonal, depth 3", kind(depth=3, scale=0.5), (0.1, 0.6, 1.3)),
    ]


def network() -> list[Case]:
    """Return a tanh network on 20 digits, from a start of full and of half scale."""
    sizes: Any = {"architecture": "mlp", "samples": 20, "widths": (16,)}
    return [
        Case(
            f"tanh network, start × {scale:g}",
            Network(**sizes, init_scale=scale),
            (0.1, 0.6, 1.1),
            steps=200,
            measured=(0, *FIRST),
        )
        for scale in (1.0, 0.5)
    ]


def main_job() -> list[Case]:
    """Return the main job, whose start lies above 2/η, and the same start below it."""
    return [Case("main job", DigitsMLP(), (0.7, 1.403), 100, (0, 5, 50))]


PARTS = {"scalar": scalar, "regression": regression, "network": network, "main": main_job}


def runs_of(case: Case, part: str) -> list[dict[str, Any]]:
    """Return what was found at each step size."""
    problem, start = case.experiment.build()
    at_start = tw.gradient_flow_solution(problem, start).sharpness
    sizes = [multiple * 2 / at_start for multiple in case.multiples]
    run = tw.descend(
        problem,
        start,
        step_size=sizes,
        steps=case.steps,
        measurements=[tw.Sharpness(every=1), tw.GFSSharpness(at=case.measured or tw.every(1))],
    )
    found = []
    for number, status in enumerate(run.status):
        row = found_in(run.dataset.isel(run=number), status.value)
        found.append({"part": part, "label": case.label, **row})
        print(case.label, {k: v for k, v in row.items() if k != "curve"}, flush=True)
    return found


def found_in(run: Any, status: str) -> dict[str, Any]:
    """Return the row of one run: where φ rises, beyond the bars of two measured values."""
    values, bars = run["gfs_sharpness"].values, run["gfs_sharpness_error"].values
    at, edge = run["gfs_step"].values, float(run["threshold"])
    losses, sharpness = run["loss"].values, run["sharpness"].values
    bounded = losses[at] <= LARGEST_LOSS * max(losses[0], 1.0)
    values = np.where(bounded, values, np.nan)
    judged = tw.monotonicity(values, bars, at=at)
    rises = np.flatnonzero(judged.steps == Step.RISES)
    return {
        "step_size": float(run["step_size"]),
        "status": status,
        "edge": edge,
        "start": [sharpness[0] / edge, values[0] / edge],
        "falls": judged.falls,
        "rises": judged.rises,
        "undecided": judged.undecided,
        "largest": judged.largest_rise and judged.largest_rise.summary(),
        "net": judged.net_fall and judged.net_fall.summary(),
        "where": [
            {
                "step": int(at[i]),
                "relative": values[i + 1] / values[i] - 1,
                "sharpness": sharpness[at[i]] / edge,
                "loss": losses[at[i]] / losses[0],
            }
            for i in rises
        ],
        "curve": [at.tolist(), (values / values[0] - 1).tolist()],
    }


def starts(random: np.random.Generator, depth: int) -> np.ndarray:
    """Return starts `(STARTS, depth)`, nearly balanced to spread over two orders of magnitude."""
    spread = 10 ** random.uniform(-1.5, 0.3, (STARTS, 1))
    logs = spread * random.normal(size=(STARTS, depth))
    product = random.uniform(np.log(1e-2), np.log(10), (STARTS, 1))
    return np.exp(logs + (product - logs.sum(axis=1, keepdims=True)) / depth)


def census() -> list[dict[str, Any]]:
    """Count rises of scalar networks, from random starts, where theorems apply and where not."""
    random, rows = np.random.default_rng(0), []
    for depth in DEPTHS:
        ws = jnp.asarray(starts(random, depth))
        at_start = np.asarray(top_eigenvalue(ws.T, jnp.ones(()))[0])
        follow = jax.jit(jax.vmap(lambda w, size: followed(w, size, STEPS, jnp.ones(()))))
        for multiple in MULTIPLES:
            sizes = multiple * 2 / at_start
            rows.append({"depth": depth, "multiple": multiple, **counted(follow(ws, sizes), sizes)})
            print({k: v for k, v in rows[-1].items() if k != "where"}, flush=True)
    return rows


def counted(iterates: Any, sizes: np.ndarray) -> dict[str, Any]:
    """Return how many steps there are of each kind, and a sample of where φ rises."""
    found = jax.device_get(iterates)
    value, error = found.flow.sharpness, found.flow.error
    losses = 0.5 * (np.prod(found.w, axis=2) - 1) ** 2
    with np.errstate(invalid="ignore", over="ignore"):
        known = found.is_finite & ~found.flow.is_saddle & np.isfinite(error)
        known &= losses <= LARGEST_LOSS * np.maximum(losses[:, :1], 1)
        known = known[:, :-1] & known[:, 1:]
        change = value[:, 1:] - value[:, :-1]
        bars = error[:, 1:] + error[:, :-1] + ROUNDING * value[:, :-1]
        rises, falls = known & (change > bars), known & (change < -bars)
        relative = change / value[:, :-1]
        kept = np.all(np.signbit(found.w[:, 1:]) == np.signbit(found.w[:, :-1]), axis=2)
    met = found.one_step.holds[:, :-1] & known
    steep, flow_steep = found.steepness[:, :-1], sizes[:, None] * value[:, :-1]
    here = np.argwhere(rises)
    picked = here[np.linspace(0, len(here) - 1, min(len(here), 40)).astype(int)]
    return {
        "runs": len(sizes),
        "runs_that_rise": int(np.sum(np.any(rises, axis=1))),
        "steps": int(known.sum()),
        "falls": int(falls.sum()),
        "rises": int(rises.sum()),
        "met": int(met.sum()),
        "rises_met": int(np.sum(rises & met)),
        "rises_kept": int(np.sum(rises & kept)),
        "rises_loss_above_start": int(np.sum(rises & (losses[:, :-1] > losses[:, :1]))),
        "least_sharpness": least(steep[rises]) / 2,
        "least_gfs_kept": least(flow_steep[rises & kept]) / 2,
        "first_quarter": int(np.sum(rises[:, : STEPS // 20])),
        "where": [[float(steep[at] / 2), float(relative[at])] for at in map(tuple, picked)],
    }


def least(values: np.ndarray) -> float:
    return float(np.min(values, initial=np.inf))


def small_steps() -> list[dict[str, Any]]:
    """Measure the change of φ by one step, from one point, at ever smaller step sizes."""
    rows = []
    for label, experiment, before in (
        ("regression, scale 0.1", SquaredRegressionExperiment(scale=0.1), 30),
        ("regression, scale 0.3", SquaredRegressionExperiment(scale=0.3), 30),
        ("regression, random", SquaredRegressionExperiment(data="random"), 30),
        ("scalar, depth 4", Scalar(), 1),
    ):
        problem, start = experiment.build()
        sharpness = tw.gradient_flow_solution(problem, start).sharpness
        w = tw.descend(problem, start, step_size=0.6 / sharpness, steps=before).w[0]
        here = tw.gradient_flow_solution(problem, w)
        for halvings in range(7):
            size = 1.2 / sharpness / 2**halvings
            there = tw.descend(problem, w, step_size=size, steps=1).w[0]
            there = tw.gradient_flow_solution(problem, there)
            change = (there.sharpness - here.sharpness) / here.sharpness
            bar = (there.sharpness_error + here.sharpness_error) / here.sharpness
            multiple = size * here.sharpness / 2
            rows.append({"label": label, "multiple": multiple, "change": change, "bar": bar})
            print(rows[-1], flush=True)
    return rows


def rounded(value: Any) -> Any:
    """Return the same with numbers of seven digits, which is what tables and figures need."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.7g}") if isinstance(value, float) else value


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for part in sys.argv[1:] or ("census", *PARTS, "small-steps"):
        if part in PARTS:
            found[part] = [row for case in PARTS[part]() for row in runs_of(case, part)]
        else:
            found[part] = {"census": census, "small-steps": small_steps}[part]()
        found["machine"] = machine()
        RESULTS.write_text(json.dumps(rounded(found), separators=(",", ":")) + "\n")
    rises_page.write(found)


if __name__ == "__main__":
    main()

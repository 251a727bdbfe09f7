"""Has a change that should change nothing changed a number? Closed forms and flows, compared.

    python benchmarks/frozen.py record      # frozen.json: what this source gives
    python benchmarks/frozen.py             # compare this source with it; exits 1 where it differs
    python benchmarks/frozen.py --forms     # the closed forms alone, in seconds

Closed forms must be the same to the last bit; the flows of the suite must have the same status,
values within each other's bars, and work within 5 %.
"""

import argparse
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import thalweg as tw
from hard_flows import FLOWS

FROZEN = Path(__file__).with_name("frozen.json")
WORK = 0.05  # relative: by which the work of a flow may differ


def closed_forms():
    """Return named numbers, as hexadecimal strings."""
    rng = np.random.default_rng(0)
    found = {}
    for depth in (2, 3, 4, 7):
        w = jnp.asarray(rng.uniform(0.2, 2.0, depth))
        solution = tw.gradient_flow_solution(tw.ScalarNetwork(depth), w)
        found[f"scalar network of depth {depth}"] = [solution.sharpness, *solution.w]
    starts = rng.uniform(0.2, 2.0, (50, 3))
    sweep = tw.scalar_sweep(starts, [0.1, 0.3], 200, gfs_every=50)
    found["sweep"] = [*np.ravel(sweep.sharpness), *np.ravel(sweep.loss)]
    found["sweep's outcomes"] = np.ravel(sweep.outcome)
    certificate = tw.certify([2.0, 1.5, 1.0, 0.7, 0.3], 0.28, 1000)
    found["certificate"] = [float(certificate.converges.established)]
    x, y = rng.normal(size=(5, 9)), rng.normal(size=5)
    for depth in (2, 3):
        problem = tw.DiagonalNetwork(x, y, depth=depth)
        w = {name: jnp.asarray(rng.uniform(0.1, 1.0, 9)) for name in ("u", "v")}
        solution = tw.gradient_flow_solution(problem, w)
        found[f"diagonal network of depth {depth}"] = [
            solution.sharpness,
            *np.concatenate([np.ravel(a) for a in jax.tree.leaves(solution.w)]),
        ]
    return {name: [float(v).hex() for v in values] for name, values in found.items()}


def flow(name):
    """Return what a flow of the suite gives."""
    case = FLOWS[name]()
    s = tw.gradient_flow_solution(case.problem, case.w)
    return {
        "sharpness": s.sharpness,
        "bar": s.sharpness_error,
        "status": s.status.name,
        "work": s.gradient_evaluations,
        "method": s.method,
    }


def difference(before, after):
    """Return in words what differs between two answers, or nothing."""
    if before["status"] != after["status"]:
        return f"{before['status']} became {after['status']}"
    apart = abs(before["sharpness"] - after["sharpness"])
    if not apart <= before["bar"] + after["bar"]:
        return f"{before['sharpness']:.9g} became {after['sharpness']:.9g}"
    change = after["work"] / before["work"] - 1 if before["work"] else 0.0
    return f"work changed by {change:+.0%}" if abs(change) > WORK else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["record"])
    parser.add_argument("--forms", action="store_true")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    kept = json.loads(FROZEN.read_text()) if FROZEN.exists() else {}
    forms = closed_forms()
    if options.what == "record":
        flows = {} if options.forms else {name: flow(name) for name in FLOWS}
        kept |= {"forms": forms, "flows": flows or kept.get("flows", {})}
        FROZEN.write_text(json.dumps(kept, indent=1) + "\n")
        return 0
    differ = [name for name in forms if forms[name] != kept["forms"][name]]
    print(f"closed forms: {len(forms)} compared, {len(differ)} differ {differ or ''}")
    for name in () if options.forms else FLOWS:
        before, after = kept["flows"][name], flow(name)
        said = difference(before, after)
        print(
            f"{name:36s} {before['sharpness']:.9g} ± {before['bar']:.1g} ({before['work']:.0f}), "
            f"now {after['sharpness']:.9g} ± {after['bar']:.1g} ({after['work']:.0f}) {said}",
            flush=True,
        )
        differ += [name] if said else []
    return int(bool(differ))


if __name__ == "__main__":
    sys.exit(main())

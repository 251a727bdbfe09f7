"""Compare scalar networks' closed forms with 60-digit arithmetic where floating point is worst.

Run::

    python benchmarks/scalar_adversarial.py [--points 1200]

Magnitudes from 1e-150 to 1e150, near-ties, negative products, depths to 100 and some of 1,000, and
targets other than 1. Printed is the worst relative error of the GFS sharpness `φ` (of `log φ` where
`φ` leaves the range), and of the sharpness at the point itself, where a dense matrix is feasible.
"""

import argparse

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

from thalweg.scalar import ScalarNetwork

KINDS = ("ordinary", "wide", "extreme", "near-tie", "balanced", "near-minimum", "half", "zero")
TARGETS = (1.0, 0.3, 40.0)


def point(rng: np.random.Generator, kind: str, depth: int, target: float) -> np.ndarray:
    """Return a start of that kind, half of them with a negative product."""
    w = np.exp(0.4 * rng.standard_normal(depth))
    if kind == "wide":
        w = 10.0 ** rng.uniform(-12, 12, depth)
    elif kind == "extreme":
        w = 10.0 ** rng.uniform(-150, 150, depth)
    elif kind == "near-tie":
        w[: depth // 2 + 1] = 0.5 * np.min(w) * (1 + 2.0**-52 * rng.permutation(depth // 2 + 1))
    elif kind == "balanced":
        w = rng.uniform(0.5, 1.5) * (1 + 1e-15 * rng.permutation(depth))
    elif kind in ("near-minimum", "half"):
        product = target * (1.0 if kind == "near-minimum" else 0.5)
        w *= (product / np.prod(w)) ** (1 / depth)
        w[0] *= 1 + 10.0 ** rng.uniform(-17, -2)
    elif kind == "zero":
        w[0] = 0.0
    return w * rng.choice([-1, 1], depth)


def exact_gfs_sharpness(w: np.ndarray, target: float) -> mpmath.mpf:
    """Return `φ` to 60 digits: Newton descending on a convex increasing function of `log x`."""
    with mpmath.workdps(60):
        sizes = sorted(abs(mpmath.mpf(float(a))) for a in w)
        balances = [(a - sizes[0]) * (a + sizes[0]) for a in sizes]
        y = mpmath.mpf(target)
        s = 2 * mpmath.log(y) / len(w)
        for _ in range(300):
            x = mpmath.exp(s)
            shares = [x / (x + b) for b in balances]
            total = mpmath.log(mpmath.fprod(x + b for b in balances)) - 2 * mpmath.log(y)
            step = total / mpmath.fsum(shares)
            s -= step
            if abs(step) < mpmath.mpf(10) ** -50:
                return y**2 * mpmath.fsum(1 / (mpmath.exp(s) + b) for b in balances)
    raise AssertionError(f"no convergence at {w}")


def exact_sharpness(w: np.ndarray, target: float) -> mpmath.mpf:
    """Return the top eigenvalue of the Hessian, as a dense matrix of 60 digits (1,000 if wide)."""
    size = np.abs(w[w != 0])
    with mpmath.workdps(60 + int(4 * np.sum(np.abs(np.log10(size))))):
        factors = [mpmath.mpf(float(a)) for a in w]
        depth, pi = len(w), mpmath.fprod(factors)

        def others(*left_out: int) -> mpmath.mpf:
            return mpmath.fprod(a for k, a in enumerate(factors) if k not in left_out)

        hessian = mpmath.matrix(depth, depth)
        for i in range(depth):
            hessian[i, i] = others(i) ** 2
            for j in range(i):
                hessian[i, j] = hessian[j, i] = (2 * pi - mpmath.mpf(target)) * others(i, j)
        scale = max(abs(a) for a in hessian)
        return max(mpmath.eigsy(hessian / scale, eigvals_only=True)) * scale


def relative_error(value: float, log_value: float, truth: mpmath.mpf) -> float:
    """Return the relative error of a value, or of its logarithm where it leaves the range."""
    if mpmath.mpf("1e-300") < truth < mpmath.mpf("1e300"):
        return float(abs(mpmath.mpf(float(value)) - truth) / truth)
    log = mpmath.log(truth)
    return float(abs(mpmath.mpf(float(log_value)) - log) / abs(log))


def worst_errors(points: int, seed: int = 0) -> tuple[dict[str, float], dict[str, float], int]:
    """Return, by kind, the worst errors of `φ` and of the sharpness, and how many were compared."""
    rng = np.random.default_rng(seed)
    depths = rng.choice([2, 3, 4, 5, 7, 10, 20, 50, 100], points)
    depths[: points // 150] = 1000
    depths = np.sort(depths)  # one compilation for each
    gfs, here, compared = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 0.0), 0
    compiled = jax.jit(
        lambda network, w: (network.flow_limit(w), network.sharpness(w), network.log_sharpness(w))
    )
    for i, depth in enumerate(depths.tolist()):
        kind, target = KINDS[i % len(KINDS)], TARGETS[(i // len(KINDS)) % len(TARGETS)]
        w = point(rng, kind, depth, target)
        found, sharpness, log_sharpness = jax.device_get(
            compiled(ScalarNetwork(depth, target), jnp.asarray(w))
        )
        if not found.is_saddle:
            truth = exact_gfs_sharpness(w, target)
            error = relative_error(found.sharpness, found.log_sharpness, truth)
            gfs[kind] = max(gfs[kind], error)
            compared += 1
        if depth <= 5:
            truth = exact_sharpness(w, target)
            error = relative_error(sharpness, log_sharpness, truth)
            here[kind] = max(here[kind], error)
    return gfs, here, compared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=1200)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    gfs, here, compared = worst_errors(options.points)
    print(f"{compared} starts with a limit; worst relative errors, of φ and of the sharpness:")
    for kind in KINDS:
        print(f"{kind:>13}: {gfs[kind]:.1e}  {here[kind]:.1e}")
    assert max(gfs.values()) <= 1e-12
    assert max(here.values()) <= 1e-12


if __name__ == "__main__":
    main()

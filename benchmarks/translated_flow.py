"""The flow of a translated torch network beside that of the same network in JAX, on digits.

    python benchmarks/translated_flow.py

Both start at the same numbers, with names in the same order. Told are sharpness and gradients of
each, the seconds of the quickest of four flows after the first, and their ratio. A minute.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

import thalweg as tw
from machine import machine
from thalweg.torch import supervised

OUTPUTS = 10


def predict(w, x):
    h = jnp.tanh(x @ w["0.weight"].T + w["0.bias"])
    h = jnp.tanh(h @ w["2.weight"].T + w["2.bias"])
    scale = (2 / OUTPUTS) ** 0.5  # of `nn.MSELoss`, which averages over outputs
    return scale * (h @ w["4.weight"].T + w["4.bias"])


def problems():
    """Return the two problems, by name, and where both begin."""
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, OUTPUTS))
    )
    x, y = tw.data.digits(100)
    data = (torch.tensor(np.asarray(one)) for one in (x, y))
    translated = supervised(model, *data, nn.MSELoss())
    in_jax = tw.Supervised(predict, x, (2 / OUTPUTS) ** 0.5 * y)
    return {"translated": translated, "in JAX": in_jax}, translated.parameters(model)


def main():
    jax.config.update("jax_enable_x64", True)
    both, w = problems()
    flows, seconds = {}, {name: [] for name in both}
    for repeat in range(5):
        for name, problem in both.items():
            begin = time.perf_counter()
            flows[name] = tw.gradient_flow_solution(problem, w, rtol=1e-3)
            if repeat:
                seconds[name].append(time.perf_counter() - begin)
    print(machine())
    for name, flow in flows.items():
        print(
            f"{name:10}: sharpness {flow.sharpness:.12g} ± {flow.sharpness_error:.1g}, "
            f"{flow.gradient_evaluations:.0f} gradients, {min(seconds[name]):.2f} s"
        )
    print(f"ratio {min(seconds['translated']) / min(seconds['in JAX']):.2f}")


if __name__ == "__main__":
    main()

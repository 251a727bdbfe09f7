"""Flows of translated networks: those of the same network in JAX, many of them, in processes."""

import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

import thalweg as tw
from thalweg.torch import supervised


def small(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))


def predict(w, x):
    return jnp.tanh(x @ w["in"].T + w["bias"][None]) @ w["out"].T + w["shift"][None]


def in_jax(model):
    names = ("in", "bias", "out", "shift")
    tensors = (p.detach().double().numpy() for p in model.parameters())
    return {name: jnp.asarray(one) for name, one in zip(names, tensors, strict=True)}


@pytest.mark.slow
def test_a_flow_is_that_of_the_same_network_in_jax():
    model = small(0)
    x = torch.randn(12, 2)
    y = torch.sin(2 * x)
    problem = supervised(model, x, y, nn.MSELoss())
    same = tw.Supervised(predict, x.double().numpy(), y.double().numpy())  # by 2 outputs: that too
    flow = tw.gradient_flow_solution(problem, problem.parameters(model))
    reference = tw.gradient_flow_solution(same, in_jax(model))
    assert flow.converged
    assert flow.sharpness == pytest.approx(reference.sharpness, rel=1e-9)
    assert flow.gradient_evaluations == reference.gradient_evaluations
    np.testing.assert_allclose(flow.w["0.weight"], reference.w["in"], rtol=1e-7)


MANY = """
import ctypes, gc, resource, sys
import jax, torch
import numpy as np
import thalweg as tw
from thalweg.torch import supervised

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_disable_most_optimizations", True)
x = torch.linspace(-1, 1, 6)[:, None]
memory = []
for seed in range(int(sys.argv[1])):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    if seed % 10 == 0:
        problem = supervised(model, x, torch.sin(3 * x), torch.nn.MSELoss())
    flow = tw.gradient_flow_solution(
        problem, problem.parameters(model), rtol=1e-2, max_gradient_evaluations=3000
    )
    assert np.isfinite(flow.sharpness)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed is the allocator's, to be used again
    with open("/proc/self/statm") as file:
        memory.append(int(file.read().split()[1]) * resource.getpagesize() / 2**20)
print(*memory)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_two_hundred_flows_in_two_processes_end_and_keep_no_memory():
    command = [sys.executable, "-c", textwrap.dedent(MANY), "100"]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=500) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (out, err) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, err
        memory = [float(word) for word in out.split()]
        assert len(memory) == 100
        print(f"MB after 1, 50, 100 flows: {memory[0]:.0f}, {memory[49]:.0f}, {memory[-1]:.0f}")
        assert memory[-1] - memory[49] < 40  # five problems were made meanwhile
    jax.clear_caches()

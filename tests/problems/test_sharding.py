"""Samples shared out among devices, of one process and of two: the numbers of one device."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import thalweg as tw
from thalweg.models import mlp, mlp_init

KEYS = jax.random.split(jax.random.key(1), 3)
PROBLEM = tw.Supervised(mlp, jax.random.normal(KEYS[0], (6, 3)), jax.random.normal(KEYS[1], (6, 2)))

FIND = """
import json, sys
import jax
jax.config.update("jax_enable_x64", True)
devices, address, processes, number = json.loads(sys.argv[1])
if processes > 1:
    jax.distributed.initialize(address, processes, number)
import thalweg as tw
from thalweg.models import mlp, mlp_init
keys = jax.random.split(jax.random.key(1), 3)
x, y = jax.random.normal(keys[0], (4, 3)), jax.random.normal(keys[1], (4, 1))
problem = tw.shard_samples(tw.Supervised(mlp, x, y), devices)
assert len(problem.x.sharding.device_set) == devices
start = mlp_init(keys[2], (3, 32, 1))
measured = [tw.Sharpness(every=10), tw.GFSSharpness(every=10)]
run = tw.descend(problem, start, step_size=0.1, steps=10, measurements=measured)
stabilized = tw.gradient_flow_solution(problem, start, method=tw.flow.Stabilized(), rtol=1e-2)
names = "loss", "sharpness", "gfs_sharpness", "gfs_sharpness_error"
found = {name: run.dataset[name].values[0].tolist() for name in names}
found["stabilized"] = [stabilized.sharpness, float(stabilized.gradient_evaluations)]
if number == 0:
    print(json.dumps(found))
"""


def free_address():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return f"localhost:{free.getsockname()[1]}"


def processes(devices, number_of_processes):
    """Start the processes that share the devices, each with as many."""
    address, own = free_address(), str(devices // number_of_processes)
    return [
        subprocess.Popen(
            [sys.executable, "-c", FIND, json.dumps([devices, address, number_of_processes, i])],
            env=os.environ | {"JAX_NUM_CPU_DEVICES": own, "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(number_of_processes)
    ]


def found_by(devices, number_of_processes):
    started = processes(devices, number_of_processes)
    try:
        said = [process.communicate(timeout=400) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * len(started), said
    return json.loads(said[0][0].splitlines()[-1])


@pytest.mark.slow
def test_several_devices_and_processes_find_what_one_does():
    one = found_by(1, 1)
    for devices, number_of_processes in ((4, 1), (2, 2)):
        several = found_by(devices, number_of_processes)
        for name, values in several.items():
            tolerance = 1e-3 if name.endswith("error") else 1e-8
            assert values == pytest.approx(one[name], rel=tolerance), (devices, name)


@pytest.mark.slow
def test_the_example_of_several_processes_runs_with_one():
    example = Path(__file__).parents[2] / "examples" / "several_processes.py"
    done = subprocess.run(
        [sys.executable, str(example), free_address(), "1", "0"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    first, *values = done.stdout.splitlines()
    assert first == "1 devices in 1 processes"
    assert [line.split(":")[0] for line in values] == ["0", "50"]


def test_samples_on_the_one_device_there_is():
    sharded, start = tw.shard_samples(PROBLEM), mlp_init(KEYS[2], (3, 8, 2))
    assert sharded.x.sharding.is_fully_addressable
    assert sharded.x.sharding.mesh.shape == {"samples": 1}
    assert float(sharded(start)) == float(PROBLEM(start))
    assert tw.sharpness(sharded, start) == pytest.approx(tw.sharpness(PROBLEM, start), rel=1e-9)


@pytest.mark.parametrize("count", [0, 2, 5])
def test_devices_that_are_not_there_are_told_in_one_line(count):
    with pytest.raises(ValueError, match=rf"{count} devices .* JAX has 1 \(cpu\)") as caught:
        tw.shard_samples(PROBLEM, count)
    assert "\n" not in str(caught.value)


def test_samples_that_cannot_be_shared_out_are_told_in_one_line(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: 4 * jax.local_devices())
    with pytest.raises(ValueError, match=r"6 samples .* 4 devices: choose a number") as caught:
        tw.shard_samples(PROBLEM)
    assert "\n" not in str(caught.value)


def test_data_of_any_dtype_are_shared_out_as_they_are():
    classes = tw.Supervised(mlp, jnp.ones((2, 3), jnp.float32), jnp.arange(2), "cross_entropy")
    sharded = tw.shard_samples(classes)
    assert (sharded.x.dtype, sharded.y.dtype) == (classes.x.dtype, classes.y.dtype)
    assert sharded.y.tolist() == [0, 1]

"""What a checkpoint's file may hold, and that nothing in it is run."""

import io
import json
import os
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import thalweg as tw
from thalweg.curvature import Eigenpairs
from thalweg.descent.checkpoint_file import _checksum, read_value, write_value
from thalweg.flow.step import rkc2_steps


@dataclass(frozen=True)
class Own:
    """A record of a user."""

    number: int


class OwnTuple(NamedTuple):
    number: int


def test_values_come_back_as_they_were_each_array_once(tmp_path):
    path, shared = tmp_path / "file.npz", jnp.arange(3.0)
    key = jax.random.key(1, impl="rbg")
    pairs = Eigenpairs(jnp.array([-0.0, jnp.nan]), jnp.ones((3, 2)), np.zeros(2), True, 7)
    value = {
        "plain": {1: [None, True, 2, 0.1, "text", float("inf")]},
        "tuple": (shared, [shared], np.arange(4, dtype=np.int8)),
        "half": jnp.array([1.5, -jnp.inf], jnp.bfloat16),
        "key": key,
        "record": pairs,
        "code": tw.Status.SADDLE,
        "steps": rkc2_steps,
        "empty": np.zeros((0, 2)),
    }
    write_value(path, value)
    found = read_value(path)
    assert found["plain"] == value["plain"]
    assert found["tuple"][0] is found["tuple"][1][0]
    assert found["code"] is tw.Status.SADDLE
    assert found["steps"] is rkc2_steps
    assert jax.random.key_impl(found["key"]) == jax.random.key_impl(key)
    np.testing.assert_array_equal(jax.random.key_data(found["key"]), jax.random.key_data(key))
    again = found["record"]
    for before, after in zip(
        (*value["tuple"][::2], value["half"], pairs.values, pairs.vectors, value["empty"]),
        (*found["tuple"][::2], found["half"], again.values, again.vectors, found["empty"]),
        strict=True,
    ):
        assert (type(before), before.dtype) == (type(after), after.dtype)
        assert np.asarray(before).tobytes() == np.asarray(after).tobytes()
        assert before.shape == after.shape
    assert (type(again), again.matvecs) == (Eigenpairs, pairs.matvecs)


def test_parameters_may_be_of_any_type_and_hold_anything(tmp_path):
    layer = eqx.nn.MLP(2, 1, 3, 1, activation=lambda x: x, key=jax.random.key(0))
    path = tmp_path / "file.npz"
    moved = jax.tree.map(lambda leaf: leaf + 1 if eqx.is_array(leaf) else leaf, layer)
    write_value(path, (moved, 3), like=layer)
    found, number = read_value(path, like=layer)
    assert number == 3
    assert eqx.tree_equal(found, moved)
    assert found.activation is layer.activation


@pytest.mark.parametrize("value", [Own(1), OwnTuple(1), os.system, lambda w: w, object()])
def test_what_is_not_of_this_package_cannot_be_written(value, tmp_path):
    path = tmp_path / "file.npz"
    with pytest.raises(TypeError, match="cannot be saved in a checkpoint") as caught:
        write_value(path, [value])
    assert "\n" not in str(caught.value)
    assert not path.exists()


def forged(path, structure):
    """Write an archive with this structure and one array, and with the right checksum."""
    text = np.frombuffer(json.dumps(structure).encode(), np.uint8)
    arrays = [np.zeros(8, np.uint8)]
    content = io.BytesIO()
    np.savez(content, structure=text, checksum=_checksum(text, arrays), **{"0": arrays[0]})
    path.write_bytes(content.getvalue())


STATUS = "thalweg.flow.solution:Status"


@pytest.mark.parametrize(
    "structure",
    [
        {"function": "shutil:rmtree"},
        {"enum": ["http:HTTPStatus", 200]},
        {"function": "posix:system"},
        {"function": "thalweg"},
        {"function": "rkc2_steps"},  # as they were named once
        {"function": "thalweg.flow.step:missing"},
        {"function": "thalweg.no_such_module:missing"},
        {"function": STATUS},  # of another kind
        {"function": "thalweg.flow.difference:gradient_flow_solution"},  # imported there
        {"record": ["thalweg.descent.checkpoint_file:Path", {}]},
        {"record": ["pathlib:Path", {}]},
        {"record": ["thalweg.descent.checkpoint:read_checkpoint", {"path": "x", "w0": 1}]},
        {"record": ["thalweg.descent.checkpoint:Outcome", {"another": 1}]},
        {"enum": ["thalweg.descent.checkpoint:Outcome", 1]},
        {"enum": [STATUS, 1000]},
        {"array": [1, "float64", [1], True]},
        {"array": [0, "float64", [2], True]},
        {"another": 1},
        {},
        {"tuple": [], "list": []},
    ],
)
def test_a_file_that_names_anything_else_is_refused(structure, tmp_path):
    path = tmp_path / "file.npz"
    forged(path, {"array": [0, "float64", [1], True]})
    assert read_value(path) == 0.0  # one that is right
    forged(path, [structure])
    with pytest.raises(ValueError, match="is damaged, or of another version") as caught:
        read_value(path)
    assert "\n" not in str(caught.value)

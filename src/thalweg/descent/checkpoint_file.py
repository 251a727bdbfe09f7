"""A value made of records, arrays and plain values, to a file and back, bit for bit.

Unlike pickle, a file holds data only. Types of records, enumerations and functions are stored by
their names, and looked up in this package and nowhere else: nothing that a file brings is run. It
is an `.npz` archive: the arrays as they are, and the structure as JSON.
"""

import hashlib
import io
import json
import zipfile
from dataclasses import fields, is_dataclass
from enum import Enum
from importlib import import_module
from inspect import isclass, isfunction
from pathlib import Path
from typing import IO, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

_STRUCTURE, _CHECKSUM = "structure", "checksum"
_OWN_MODULES = f"{__package__.partition('.')[0]}."


def write_value(path: Path, value: Any, like: PyTree = None) -> None:
    """Write a value to a file.

    It may hold dataclasses, named tuples, enumerations and functions of this package, and pytrees
    of the structure of `like`, which may be of any type and hold anything: of these only the arrays
    are stored.

    Raises
    ------
    TypeError
        It holds something else.
    """
    arrays: list[np.ndarray] = []
    structure = _Encoder(_structure(like), arrays).encode(value)
    text = np.frombuffer(json.dumps(structure).encode(), np.uint8)
    stored: dict[str, Any] = {str(i): a for i, a in enumerate(arrays)}
    stored |= {_STRUCTURE: text, _CHECKSUM: _checksum(text, arrays)}
    # In memory first: an archive that could not be written tries again when it is forgotten.
    content = io.BytesIO()
    np.savez(content, **stored)
    path.write_bytes(content.getbuffer())


def read_value(path: Path, like: PyTree = None) -> Any:
    """Read what `write_value` has written with a `like` of the same structure.

    Raises
    ------
    ValueError
        The file is damaged, or does not fit.
    OSError
        The file cannot be opened.
    """
    with path.open("rb") as file:
        try:
            _check_uncompressed(file)
            with np.load(file, allow_pickle=False) as stored:
                text = stored[_STRUCTURE]
                arrays = [stored[str(i)] for i in range(len(stored.files) - 2)]
                if not np.array_equal(stored[_CHECKSUM], _checksum(text, arrays)):
                    raise ValueError("checksum")
            return _Decoder(like, arrays).decode(json.loads(text.tobytes()))
        # Damage shows as almost anything: of zip, of zlib, of NumPy, of JSON, of the records.
        except Exception as error:
            raise ValueError(f"{path} is damaged, or of another version of thalweg") from error


def _checksum(text: np.ndarray, arrays: list[np.ndarray]) -> np.ndarray:
    """Return that of everything together: the archive has one for each part by itself."""
    total = hashlib.sha256()
    for part in (text, *arrays):
        total.update(f"{part.dtype} {part.shape}".encode() + part.tobytes())
    return np.frombuffer(total.digest(), np.uint8)


def _check_uncompressed(file: IO[bytes]) -> None:
    """Raise unless the archive is no larger than its file: a few bytes can be made to be many."""
    with zipfile.ZipFile(file) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("compressed")
    file.seek(0)


class _Encoder:
    """Turns a value into JSON, and collects its arrays, each of them once."""

    def __init__(self, like: Any, arrays: list[np.ndarray]):
        self.like, self.arrays = like, arrays
        self.numbers: dict[int, int] = {}
        self.kept: list[Any] = []  # alive, so that no other array gets the same `id`

    def encode(self, value: Any) -> Any:
        if isinstance(value, Enum):
            return {"enum": [_name(type(value)), value.value]}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, np.generic):
            value = np.asarray(value)
        if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            data = self._array(jax.random.key_data(value))
            return {"key": [data, str(jax.random.key_impl(value))]}
        if isinstance(value, jax.Array | np.ndarray):
            return self._array(value)
        if self._has_structure(value):
            leaves = jax.tree.leaves(eqx.filter(value, eqx.is_array))
            return {"like": [self.encode(leaf) for leaf in leaves]}
        if type(value) is list:
            return [self.encode(entry) for entry in value]
        if type(value) is tuple:
            return {"tuple": [self.encode(entry) for entry in value]}
        if type(value) is dict:
            return {"dict": [[self.encode(k), self.encode(v)] for k, v in value.items()]}
        if isfunction(value):
            return {"function": _name(value)}
        if _is_record_type(type(value)):
            contents = {name: self.encode(getattr(value, name)) for name in _field_names(value)}
            return {"record": [_name(type(value)), contents]}
        raise TypeError(f"a {type(value).__name__} cannot be saved in a checkpoint")

    def _has_structure(self, value: Any) -> bool:
        structure = _structure(value)
        return bool(structure == self.like) and structure.num_leaves > 0

    def _array(self, value: Any) -> Any:
        self.kept.append(value)
        number = self.numbers.setdefault(id(value), len(self.arrays))
        whole = np.asarray(value)
        if number == len(self.arrays):
            # As bytes: NumPy's format does not know all of JAX's dtypes.
            self.arrays.append(np.frombuffer(whole.tobytes(), np.uint8))
        on_jax = isinstance(value, jax.Array)
        return {"array": [number, whole.dtype.name, list(whole.shape), on_jax]}


class _Decoder:
    """Turns what `_Encoder` has made into the value again."""

    def __init__(self, like: PyTree, arrays: list[np.ndarray]):
        self.like, self.arrays = like, arrays
        self.decoded: dict[int, Any] = {}

    def decode(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.decode(entry) for entry in node]
        if not isinstance(node, dict):
            return node
        ((kind, content),) = node.items()
        match kind:
            case "array":
                return self._array(*content)
            case "key":
                return jax.random.wrap_key_data(self.decode(content[0]), impl=content[1])
            case "tuple":
                return tuple(self.decode(entry) for entry in content)
            case "dict":
                return {self.decode(key): self.decode(entry) for key, entry in content}
            case "like":
                static = eqx.partition(self.like, eqx.is_array)[1]
                leaves = [self.decode(leaf) for leaf in content]
                return eqx.combine(jax.tree.unflatten(_structure(self.like), leaves), static)
            case "function" if isfunction(function := _find(content)):
                return function
            case "enum" if isclass(codes := _find(content[0])) and issubclass(codes, Enum):
                return codes(content[1])
            case "record" if _is_record_type(record := _find(content[0])):
                return record(**{name: self.decode(entry) for name, entry in content[1].items()})
        raise ValueError(f"unknown {kind}: {content!r}")

    def _array(self, number: int, dtype: str, shape: list[int], on_jax: bool) -> Any:
        if number not in self.decoded:
            whole = self.arrays[number].view(jnp.dtype(dtype)).reshape(shape)
            self.decoded[number] = jnp.asarray(whole) if on_jax else whole
        return self.decoded[number]


def _structure(tree: PyTree) -> Any:
    return jax.tree.structure(eqx.filter(tree, eqx.is_array))


def _is_record_type(one: Any) -> bool:
    return isclass(one) and (is_dataclass(one) or hasattr(one, "_fields"))


def _field_names(record: Any) -> list[str]:
    return [f.name for f in fields(record)] if is_dataclass(record) else list(record._fields)


def _name(one: Any) -> str:
    """Return the name of a type or function of this package, with that of its module."""
    name = f"{one.__module__}:{one.__qualname__}"
    try:
        is_own = _find(name) is one
    except ValueError:
        is_own = False
    if not is_own:
        raise TypeError(f"{name} cannot be saved in a checkpoint: it is none of thalweg's own")
    return name


def _find(name: str) -> Any:
    """Return the type or function of this package that was written there, not imported."""
    module, _, attribute = name.partition(":")
    if module.startswith(_OWN_MODULES):
        found = getattr(import_module(module), attribute, None)
        if getattr(found, "__module__", "") == module:
            return found
    raise ValueError(f"{name} is none of thalweg's own")

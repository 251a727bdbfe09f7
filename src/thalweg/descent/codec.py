"""Records, arrays and plain values to a file and back, bit for bit, without running what is in it.

Unlike pickle, a file holds data only: names of record types, functions and enumerations are looked
up in a list that the reader brings. It is an `.npz` archive: the arrays as they are, and the
structure as JSON.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import IO, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

_STRUCTURE, _CHECKSUM = "structure", "checksum"


class Codec:
    """Writes and reads values made of what it knows.

    That is `known`: dataclasses, named tuples, enumerations and functions, each with a name of its
    own; and pytrees of the structure of `like`, which may be of any type and hold anything: of
    these only the arrays are stored.
    """

    def __init__(self, known: Iterable[Any], like: PyTree = None):
        self._known: dict[str, Any] = {one.__name__: one for one in known}
        arrays, self._static = eqx.partition(like, eqx.is_array)
        self._like = jax.tree.structure(arrays)

    def write(self, path: Path, value: Any) -> None:
        """Write `value` to a file; a TypeError where it holds something that is not known."""
        arrays: list[np.ndarray] = []
        structure = _Encoder(self._known, self._like, arrays).encode(value)
        text = np.frombuffer(json.dumps(structure).encode(), np.uint8)
        stored: dict[str, Any] = {str(i): a for i, a in enumerate(arrays)}
        stored |= {_STRUCTURE: text, _CHECKSUM: _checksum(text, arrays)}
        # In memory first: an archive that could not be written tries again when it is forgotten.
        content = io.BytesIO()
        np.savez(content, **stored)
        path.write_bytes(content.getbuffer())

    def read(self, path: Path) -> Any:
        """Read what `write` has written; a ValueError where it is damaged, or does not fit."""
        with path.open("rb") as file:
            try:
                _check_uncompressed(file)
                with np.load(file, allow_pickle=False) as stored:
                    text = stored[_STRUCTURE]
                    arrays = [stored[str(i)] for i in range(len(stored.files) - 2)]
                    if not np.array_equal(stored[_CHECKSUM], _checksum(text, arrays)):
                        raise ValueError("checksum")
                structure = json.loads(text.tobytes())
                return self._decode(structure, arrays, {})
            # Damage shows as almost anything: of zip, of zlib, of NumPy, of JSON, of the records.
            except Exception as error:
                raise ValueError(f"{path} is damaged, or of another version of thalweg") from error

    def _decode(self, node: Any, arrays: list[np.ndarray], decoded: dict[int, Any]) -> Any:
        def decode(inner: Any) -> Any:
            return self._decode(inner, arrays, decoded)

        if isinstance(node, list):
            return [decode(entry) for entry in node]
        if not isinstance(node, dict):
            return node
        ((kind, content),) = node.items()
        match kind:
            case "array":
                number, dtype, shape, on_jax = content
                if number not in decoded:
                    whole = arrays[number].view(jnp.dtype(dtype)).reshape(shape)
                    decoded[number] = jnp.asarray(whole) if on_jax else whole
                return decoded[number]
            case "key":
                return jax.random.wrap_key_data(decode(content[0]), impl=content[1])
            case "tuple":
                return tuple(decode(entry) for entry in content)
            case "dict":
                return {decode(key): decode(entry) for key, entry in content}
            case "like":
                leaves = jax.tree.unflatten(self._like, [decode(leaf) for leaf in content])
                return eqx.combine(leaves, self._static)
            case "name":
                return self._known[content]
            case "enum":
                return self._known[content[0]](content[1])
            case "record":
                values = {field: decode(entry) for field, entry in content[1].items()}
                return self._known[content[0]](**values)
        raise ValueError(f"unknown kind {kind!r}")


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

    def __init__(self, known: dict[str, Any], like: Any, arrays: list[np.ndarray]):
        self.known, self.like, self.arrays = known, like, arrays
        self.numbers: dict[int, int] = {}
        self.kept: list[Any] = []  # alive, so that no other array gets the same `id`

    def encode(self, value: Any) -> Any:
        if isinstance(value, Enum):
            return {"enum": [self._name(type(value)), value.value]}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, np.generic):
            value = np.asarray(value)
        if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            data = self._array(jax.random.key_data(value))
            return {"key": [data, str(jax.random.key_impl(value))]}
        if isinstance(value, jax.Array | np.ndarray):
            return self._array(value)
        if self.known.get(getattr(type(value), "__name__", "")) is type(value):
            return {"record": [type(value).__name__, self._fields(value)]}
        if self._has_structure(value):
            leaves = jax.tree.leaves(eqx.filter(value, eqx.is_array))
            return {"like": [self.encode(leaf) for leaf in leaves]}
        if type(value) is list:
            return [self.encode(entry) for entry in value]
        if type(value) is tuple:
            return {"tuple": [self.encode(entry) for entry in value]}
        if type(value) is dict:
            return {"dict": [[self.encode(k), self.encode(v)] for k, v in value.items()]}
        if callable(value):
            return {"name": self._name(value)}
        raise TypeError(f"a {type(value).__name__} cannot be saved in a checkpoint")

    def _fields(self, value: Any) -> dict[str, Any]:
        names = [f.name for f in fields(value)] if is_dataclass(value) else value._fields
        return {name: self.encode(getattr(value, name)) for name in names}

    def _name(self, one: Callable[..., Any]) -> str:
        name = getattr(one, "__name__", "")
        if self.known.get(name) is not one:
            raise TypeError(f"{one!r} cannot be saved in a checkpoint")
        return name

    def _has_structure(self, value: Any) -> bool:
        arrays = eqx.filter(value, eqx.is_array)
        return bool(jax.tree.leaves(arrays)) and jax.tree.structure(arrays) == self.like

    def _array(self, value: Any) -> Any:
        self.kept.append(value)
        number = self.numbers.setdefault(id(value), len(self.arrays))
        whole = np.asarray(value)
        if number == len(self.arrays):
            # As bytes: NumPy's format does not know all of JAX's dtypes.
            self.arrays.append(np.frombuffer(whole.tobytes(), np.uint8))
        on_jax = isinstance(value, jax.Array)
        return {"array": [number, whole.dtype.name, list(whole.shape), on_jax]}

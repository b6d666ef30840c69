"""The files of MNIST: where they are looked for, and that nothing half-made is ever read.

Most tests use a tiny set of files in MNIST's format; those of the real one need $HPO_DATA.
"""

import functools
import gzip
import hashlib
import os
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import MNIST, FashionMNIST

from hpo.data import _mnist_files, load_fashion_mnist, load_mnist
from hpo.exceptions import DataError

RAW = Path("MNIST") / "raw"


def idx(array):
    """Return ``array`` of bytes in the format of MNIST's files."""
    head = bytes([0, 0, 8, array.ndim])
    return head + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def tiny_files(seed=0, n=40):
    rng = np.random.default_rng(seed)
    files = {}
    for part, size in (("train", n), ("t10k", n // 2)):
        images = rng.integers(0, 256, (size, 28, 28), dtype=np.uint8)
        files[f"{part}-images-idx3-ubyte"] = idx(images)
        files[f"{part}-labels-idx1-ubyte"] = idx((np.arange(size) % 10).astype(np.uint8))
    return files


def write_plain(raw, files):
    raw.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (raw / name).write_bytes(content)


def write_packed(raw, files):
    raw.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (raw / f"{name}.gz").write_bytes(gzip.compress(content))


def tree(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*"))


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """An empty cache folder, no data folder and no network."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("HPO_CACHE", str(folder))
    monkeypatch.delenv("HPO_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    for dataset in (MNIST, FashionMNIST):
        monkeypatch.setattr(dataset, "mirrors", ["http://127.0.0.1:9/"])
    return folder


@pytest.mark.parametrize("write", [write_plain, write_packed])
@pytest.mark.parametrize("below", ["mnist", "."])
def test_files_are_found_in_every_layout(empty_cache, tmp_path, write, below):
    files = tiny_files()
    write(tmp_path / "data" / below / RAW, files)
    before = tree(tmp_path / "data")
    data = load_mnist(data_dir=tmp_path / "data")
    pixels = np.frombuffer(files["train-images-idx3-ubyte"], np.uint8, offset=16)
    assert data.X.shape == (40, 784)
    assert data.X.dtype == np.float32
    assert np.array_equal(data.X.ravel(), pixels.astype(np.float32) / np.float32(255))
    assert data.y.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] * 4
    assert (data.y.dtype, data.X_test.shape) == (np.int64, (20, 784))
    assert tree(tmp_path / "data") == before, "the data folder may be read-only"


def test_the_folder_of_the_environment_is_looked_at(empty_cache, tmp_path, monkeypatch):
    write_packed(tmp_path / "data" / "mnist" / RAW, tiny_files())
    monkeypatch.setenv("HPO_DATA", str(tmp_path / "data"))
    assert load_mnist().X.shape == (40, 784)


def test_two_sources_do_not_mix_in_the_cache(empty_cache, tmp_path):
    for seed in (1, 2):
        write_packed(tmp_path / str(seed) / RAW, tiny_files(seed))
    first = load_mnist(data_dir=tmp_path / "1").X
    second = load_mnist(data_dir=tmp_path / "2").X
    assert not np.array_equal(first, second)
    write_packed(tmp_path / "1" / RAW, tiny_files(2))
    assert np.array_equal(load_mnist(data_dir=tmp_path / "1").X, second)


def test_an_unpacking_that_was_cut_off_is_done_again(empty_cache, tmp_path, monkeypatch):
    write_packed(tmp_path / RAW, tiny_files())

    def cut_off(source, target):
        target.write(source.read(100))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_mnist_files.shutil, "copyfileobj", cut_off)
        with pytest.raises(KeyboardInterrupt):
            load_mnist(data_dir=tmp_path)
    assert not [path for path in tree(empty_cache) if "ubyte" in path.name]
    assert load_mnist(data_dir=tmp_path).X.shape == (40, 784)


def test_a_damaged_archive_is_told_and_leaves_nothing(empty_cache, tmp_path):
    write_packed(tmp_path / RAW, tiny_files())
    packed = tmp_path / RAW / "train-images-idx3-ubyte.gz"
    packed.write_bytes(packed.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is damaged .* whole copy"):
        load_mnist(data_dir=tmp_path)
    assert not [path for path in tree(empty_cache) if "ubyte" in path.name]


def test_a_file_that_is_no_mnist_is_told(empty_cache, tmp_path):
    files = tiny_files()
    files["t10k-images-idx3-ubyte"] = files["t10k-images-idx3-ubyte"][:-1]
    write_plain(tmp_path / RAW, files)
    with pytest.raises(DataError, match="cannot be read as MNIST"):
        load_mnist(data_dir=tmp_path)


def test_a_data_dir_without_mnist_is_told(empty_cache, tmp_path):
    with pytest.raises(
        DataError, match=r"no complete MNIST in data_dir=.*Looked in .*mnist/MNIST/raw"
    ):
        load_mnist(data_dir=tmp_path)
    assert not empty_cache.exists()


def test_nowhere_and_no_network_says_what_to_do(empty_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_DATA", str(tmp_path / "data"))
    with pytest.raises(DataError) as caught:
        load_mnist()
    message = str(caught.value)
    assert message.startswith("MNIST is not on this machine and could not be downloaded. Looked in")
    for folder in (tmp_path / "data" / "mnist" / RAW, empty_cache / "mnist" / RAW):
        assert str(folder) in message
    assert "Set HPO_DATA to a folder" in message
    assert tree(empty_cache) == [Path("mnist")]


@pytest.fixture
def mirror(tmp_path):
    """A web server on this machine with the tiny files; yields its folder and address."""
    folder = tmp_path / "mirror"
    write_packed(folder, tiny_files())
    handler = functools.partial(QuietHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_downloads_once_into_the_cache(empty_cache, mirror, monkeypatch):
    folder, address = mirror
    sums = [
        (path.name, hashlib.md5(path.read_bytes()).hexdigest()) for path in sorted(folder.iterdir())
    ]
    monkeypatch.setattr(MNIST, "mirrors", [address])
    monkeypatch.setattr(MNIST, "resources", sums)
    assert load_mnist().X.shape == (40, 784)
    raw = empty_cache / "mnist" / RAW
    assert {path.name for path in raw.iterdir()} == set(_mnist_files.FILES)
    assert tree(empty_cache / "mnist")[0] == Path("MNIST"), "nothing but the files is left"
    monkeypatch.setattr(MNIST, "mirrors", [])
    assert load_mnist().X.shape == (40, 784)


def test_a_cache_that_is_a_file_is_told(empty_cache, tmp_path):
    write_packed(tmp_path / RAW, tiny_files())
    empty_cache.write_text("")
    with pytest.raises(DataError, match=r"cannot be written .* Set HPO_CACHE"):
        load_mnist(data_dir=tmp_path)


def test_a_part_to_search_on_keeps_all_for_the_refit(empty_cache, tmp_path):
    write_plain(tmp_path / RAW, tiny_files(n=200))
    data = load_mnist(n_train=50, data_dir=tmp_path)
    assert np.bincount(data.y).tolist() == [5] * 10
    assert data.X_refit.shape == (200, 784)
    assert {row.tobytes() for row in data.X} < {row.tobytes() for row in data.X_refit}
    again, other = (load_mnist(50, seed=seed, data_dir=tmp_path) for seed in (0, 1))
    assert np.array_equal(again.X, data.X)
    assert not np.array_equal(other.X, data.X)
    with pytest.raises(DataError, match=r"^n_train=500 does not fit 200 samples"):
        load_mnist(500, data_dir=tmp_path)


def test_images_keep_their_shape_and_the_refit_may_stay_on_the_part(empty_cache, tmp_path):
    write_plain(tmp_path / RAW, tiny_files(n=200))
    flat = load_mnist(50, data_dir=tmp_path)
    data = load_mnist(50, data_dir=tmp_path, flat=False, refit_on_all=False)
    assert data.X.shape == (50, 1, 28, 28)
    assert np.array_equal(data.X.reshape(50, 784), flat.X)
    assert data.X_refit is None


def test_fashion_is_whole_or_says_that_it_is_a_part(empty_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_DATA", str(tmp_path))
    write_plain(tmp_path / "mnist" / RAW, tiny_files())
    with pytest.raises(DataError, match=r"^FashionMNIST is not on this machine"):
        load_fashion_mnist()
    folder = tmp_path / "fashion_mnist_part"
    folder.mkdir()
    arrays = {"x_train": (30, 28, 28), "y_train": 30, "x_test": (20, 28, 28), "y_test": 20}
    bytes_of = {name: np.zeros(shape, dtype=np.uint8) for name, shape in arrays.items()}
    np.savez(folder / "fashion_mnist_part.npz", **bytes_of)
    part = load_fashion_mnist()
    assert (part.X.shape, part.X_test.shape) == ((30, 784), (20, 784))
    assert part.source == "the first 30 + 20 images of Fashion-MNIST"
    write_packed(tmp_path / "fashion_mnist" / "FashionMNIST" / "raw", tiny_files(n=60))
    whole = load_fashion_mnist()
    assert (len(whole.X), whole.source, whole.class_names[9]) == (60, None, "ankle boot")


@pytest.mark.skipif(
    not (Path(os.environ.get("HPO_DATA", "")) / "mnist" / RAW).is_dir(),
    reason="needs the real MNIST in $HPO_DATA/mnist",
)
def test_the_real_one(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE", str(tmp_path))
    data = load_mnist(n_train=1000)
    assert data.X.shape == (1000, 784)
    assert data.X_refit.shape == (60_000, 784)
    assert data.X_test.shape == (10_000, 784)
    assert data.X_refit.mean() == pytest.approx(0.1307, abs=1e-4)
    assert data.y_refit[:5].tolist() == [5, 0, 4, 1, 9]
    assert np.bincount(data.y_test).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]

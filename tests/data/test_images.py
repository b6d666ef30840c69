"""Images: faces, CIFAR-10 and folders of a user's own, from small files of the same form."""

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10

from hpo.data import load_afhq, load_animal_faces, load_cifar10, load_faces, load_image_folder
from hpo.exceptions import DataError

REAL = Path(os.environ.get("HPO_DATA", ""))


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    """An empty data folder that $HPO_DATA names, an empty cache folder, no network."""
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HPO_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/")
    return tmp_path / "data"


def images(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)


def write_faces(data_dir, n=60):
    folder = data_dir / "lhi_animal_faces"
    folder.mkdir(parents=True)
    numbers = np.arange(n)
    np.savez(
        folder / "lhi_animal_faces_32.npz",
        images=images(n),
        labels=(numbers % 6).astype(np.uint8),
        test=numbers % 5 == 0,
        classes=np.array(["a", "b", "c", "d", "e", "f"]),
        cat_dog_wild=np.where(numbers % 6 < 3, numbers % 3, -1).astype(np.int8),
    )
    return images(n)


def write_folder(folder, classes, n=10, size=(48, 40)):
    """Write one-coloured images: the colour tells which one it is."""
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(n):
            Image.new("RGB", size, (20 * i, 80 * number, 7)).save(folder / name / f"{i}.png")


def write_jpeg(folder, sizes):
    """Write CIFAR-10 as streams of JPEG images; return the decoded ones."""
    folder.mkdir(parents=True, exist_ok=True)
    decoded = {}
    for part, n in sizes.items():
        files = []
        for image in images(n, seed=n):
            file = io.BytesIO()
            Image.fromarray(image).save(file, "JPEG", quality=75)
            files.append(file.getvalue())
        np.savez(
            folder / f"{part}.npz",
            jpeg=np.frombuffer(b"".join(files), dtype=np.uint8),
            sizes=np.array([len(file) for file in files], dtype=np.uint16),
            labels=(np.arange(n) % 10).astype(np.uint8),
        )
        decoded[part] = np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files])
    return decoded


def rows(X):
    return {row.tobytes() for row in X}


def test_faces_of_three_kinds_leave_other_animals_out(data_dir):
    pixels = write_faces(data_dir)
    data = load_animal_faces()
    assert (data.X.shape, data.X.dtype) == ((24, 3, 32, 32), np.float32)
    assert set(data.y) == {0, 1, 2}
    assert data.class_names == ("cat", "dog", "wild")
    first = pixels[1].transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    assert np.array_equal(data.X[0], first)
    assert len(data.X_test) == 6
    species = load_animal_faces(label="species")
    assert (len(species.X), len(species.X_test), species.class_names[5]) == (48, 12, "f")
    with pytest.raises(DataError, match="Got 'specis' instead, did you mean 'species'"):
        load_animal_faces(label="specis")


def test_a_part_of_the_training_images_is_refitted_on_all_or_on_itself(data_dir):
    write_faces(data_dir)
    whole, part = load_animal_faces(), load_animal_faces(n_train=9)
    assert np.bincount(part.y).tolist() == [3, 3, 3]
    assert rows(part.X) < rows(part.X_refit) == rows(whole.X)
    assert not rows(part.X_refit) & rows(part.X_test)
    same = load_animal_faces(n_train=9, refit_on_all=False)
    assert np.array_equal(same.X, part.X)
    assert same.X_refit is None


def test_a_damaged_file_and_none_at_all_are_told(data_dir):
    with pytest.raises(DataError, match=r"animal faces is not on this machine.*Set HPO_DATA"):
        load_animal_faces()
    write_faces(data_dir)
    file = data_dir / "lhi_animal_faces" / "lhi_animal_faces_32.npz"
    file.write_bytes(file.read_bytes()[:-3000])
    with pytest.raises(DataError, match=r"faces_32\.npz cannot be read as an \.npz file"):
        load_animal_faces()


@pytest.mark.parametrize("held_out", ["val", "test"])
def test_afhq_is_taken_where_it_is_and_its_own_part_is_held_out(data_dir, held_out):
    write_faces(data_dir)
    assert load_faces().source.startswith("LHI animal faces")
    with pytest.raises(DataError, match="only have a size of 32"):
        load_faces(size=16)
    write_folder(data_dir / "afhq" / "train", ["cat", "dog", "wild"], n=8)
    write_folder(data_dir / "afhq" / held_out, ["cat", "dog", "wild"], n=2)
    data = load_faces(size=16)
    assert data.source == "AFHQ, 16 x 16 pixels"
    assert data.X.shape == (24, 3, 16, 16)
    assert data.y_test.tolist() == [0, 0, 1, 1, 2, 2]
    np.testing.assert_allclose(data.X_test[3, :, 0, 0] * 255, [20, 80, 7], atol=0.01)


def test_afhq_of_other_classes_is_refused(data_dir):
    for part in ("train", "val"):
        write_folder(data_dir / "afhq" / part, ["cat", "fish"], n=2)
    with pytest.raises(DataError, match=r"must hold the classes cat, dog, wild\. Got cat, fish"):
        load_afhq()
    with pytest.raises(DataError, match="AFHQ is not on this machine"):
        load_afhq(data_dir=data_dir / "elsewhere")


def test_a_folder_of_classes_is_split_and_cached(data_dir, tmp_path):
    write_folder(tmp_path / "mine", ["b", "a"])
    data = load_image_folder(tmp_path / "mine", 8, test_size=0.2)
    assert (data.X.shape, data.X_test.shape, data.class_names) == (
        (16, 3, 8, 8),
        (4, 3, 8, 8),
        ("a", "b"),
    )
    assert not rows(data.X) & rows(data.X_test)
    again = load_image_folder(tmp_path / "mine", 8, test_size=0.2)
    assert np.array_equal(again.X, data.X)
    (tmp_path / "mine" / "a" / "new.png").write_bytes((tmp_path / "mine/a/1.png").read_bytes())
    assert len(load_image_folder(tmp_path / "mine", 8).y) == 16
    assert len(list((tmp_path / "cache" / "images").iterdir())) == 2, "made anew for new files"


def test_a_validation_part_beside_a_test_part_is_searched_on(data_dir, tmp_path):
    for n, part in enumerate(("train", "val", "test"), 2):
        write_folder(tmp_path / part, ["a", "b"], n=n)
    data = load_image_folder(tmp_path, 8)
    assert (len(data.X), len(data.X_test)) == (10, 8)


def test_folders_without_images_and_files_that_are_none_are_told(data_dir, tmp_path):
    with pytest.raises(DataError, match="There is no folder"):
        load_image_folder(tmp_path / "none")
    (tmp_path / "mine" / "a").mkdir(parents=True)
    with pytest.raises(DataError, match="a subfolder for each class with its images"):
        load_image_folder(tmp_path / "mine")
    (tmp_path / "mine" / "a" / "1.png").write_text("no image")
    with pytest.raises(DataError, match=r"a/1\.png cannot be read as an image"):
        load_image_folder(tmp_path / "mine")
    with pytest.raises(DataError, match="at least 1 pixel"):
        load_image_folder(tmp_path / "mine", 0)


def test_jpeg_copies_say_that_they_are(data_dir):
    decoded = write_jpeg(data_dir / "cifar10_jpeg", {"train": 100, "test": 20})
    data = load_cifar10()
    np.testing.assert_array_equal(data.X, decoded["train"].transpose(0, 3, 1, 2) / np.float32(255))
    assert "JPEG" in data.source
    part = load_cifar10(n_train=30, refit_on_all=False)
    assert np.bincount(part.y).tolist() == [3] * 10
    assert rows(part.X) < rows(data.X)
    assert np.array_equal(part.y_test, data.y_test)


def test_lossless_images_never_come_from_the_jpeg_copy(data_dir):
    write_jpeg(data_dir / "cifar10_jpeg", {"train": 100, "test": 20})
    with pytest.raises(DataError, match="could not be downloaded"):
        load_cifar10(lossless=True)
    pixels, labels = images(100), (np.arange(100) % 10).astype(np.uint8)
    np.savez(data_dir / "cifar10_jpeg" / "lossless4000.npz", images=pixels, labels=labels)
    data = load_cifar10(lossless=True)
    assert (len(data.X), len(data.X_test)) == (80, 20)
    assert "4,000" in data.source
    assert rows(data.X) <= rows(pixels.transpose(0, 3, 1, 2) / np.float32(255))


def test_the_original_files_come_first(data_dir, monkeypatch):
    write_jpeg(data_dir / "cifar10_jpeg", {"train": 100, "test": 20})
    folder = data_dir / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = ["data_batch_1", "test_batch"]
    for name in names:
        batch = {"data": images(40).reshape(40, -1), "labels": [i % 10 for i in range(40)]}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    monkeypatch.setattr(CIFAR10, "train_list", [[names[0], None]])
    monkeypatch.setattr(CIFAR10, "test_list", [[names[1], None]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": None})
    data = load_cifar10()
    assert (data.source, data.X.shape) == ("CIFAR-10", (40, 3, 32, 32))
    (folder / names[1]).write_bytes(b"")
    with pytest.raises(DataError, match="cifar-10-batches-py is damaged"):
        load_cifar10()


def test_no_cifar_says_where_it_was_looked_for(data_dir, tmp_path):
    with pytest.raises(DataError, match=r"could not be downloaded.*cifar10_jpeg\. Set HPO_DATA"):
        load_cifar10()
    assert not (tmp_path / "cache" / "cifar10").exists(), "nothing half-made is left"
    with pytest.raises(DataError, match="no CIFAR-10 in the given data_dir"):
        load_cifar10(data_dir=tmp_path)


@pytest.mark.skipif(not (REAL / "lhi_animal_faces").is_dir(), reason="needs faces in $HPO_DATA")
def test_the_real_faces():
    data = load_animal_faces()
    assert (len(data.X), len(data.X_test)) == (773, 193)
    total = np.bincount(data.y) + np.bincount(data.y_test)
    assert total.tolist() == [160, 389, 417]


@pytest.mark.skipif(not (REAL / "cifar10_jpeg").is_dir(), reason="needs CIFAR-10 in $HPO_DATA")
def test_the_real_jpeg_copy():
    data = load_cifar10(n_train=500, refit_on_all=False, data_dir=REAL)
    assert np.bincount(data.y).tolist() == [50] * 10
    assert len(data.X_test) == 10_000
    assert data.X_test.mean() == pytest.approx(0.476, abs=0.003)

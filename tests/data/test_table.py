"""A user's own tables and arrays, Covertype, and the encoder that stands before a net."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import _base as sklearn_data

from hpo.data import TableEncoder, load_covertype, load_npz, load_table
from hpo.exceptions import DataError

REAL = Path(os.environ.get("HPO_DATA", ""))


def frame(n=40):
    numbers = np.arange(n)
    return pd.DataFrame(
        {
            "height": numbers * 1.5,
            "zip": 100 + numbers % 4,
            "town": np.array(["a", "b", None, "d"], dtype=object)[numbers % 4],
            "owned": numbers % 2 == 0,
            "price": numbers * 0.25,
            "kind": np.array(["old", "new"])[numbers % 2],
        }
    )


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "houses.csv"
    frame().to_csv(path, index=False)
    return path


def test_columns_are_numbers_or_categories(file):
    data = load_table(file, "kind", categorical=["zip"], drop=["price"])
    assert data.X.dtypes.astype(str).to_dict() == {
        "height": "float32",
        "zip": "category",
        "town": "category",
        "owned": "category",
    }
    assert (len(data.X), len(data.X_test)) == (32, 8)
    assert not set(data.X["height"]) & set(data.X_test["height"])


def test_classes_are_told_by_the_target_and_kept_in_shares(file):
    data = load_table(file, "kind")
    assert data.class_names == ("new", "old")
    assert data.y.dtype == np.int64
    assert np.bincount(data.y_test).tolist() == [4, 4]
    assert np.array_equal(data.y == 0, data.X["owned"].astype(str) == "False")


def test_numbers_are_a_regression_unless_they_are_few_whole_ones(file):
    price = load_table(file, "price")
    assert (price.y.dtype, price.y.shape, price.class_names) == (np.float32, (32, 1), None)
    assert load_table(file, "zip").class_names == ("100", "101", "102", "103")
    forced = load_table(file, "zip", task="regression")
    assert set(forced.y.ravel()) == {100, 101, 102, 103}


def test_a_frame_is_taken_as_it_is():
    houses = frame()
    data = load_table(houses, "kind")
    assert data.class_names == ("new", "old")
    assert houses.equals(frame()), "and is left as it was"
    with pytest.raises(DataError, match=r"^The table has no column 'knid', did you mean 'kind'\?"):
        load_table(houses, "knid")


@pytest.mark.parametrize("name", ["houses.parquet", "houses.tsv", "houses.csv.gz"])
def test_formats(tmp_path, file, name):
    path = tmp_path / name
    if path.suffix == ".parquet":
        frame().to_parquet(path)
    else:
        frame().to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    data, expected = load_table(path, "price"), load_table(file, "price")
    np.testing.assert_array_equal(data.y_test, expected.y_test)
    assert data.X.astype(str).equals(expected.X.astype(str))


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("prize", {}, r"has no column 'prize', did you mean 'price'\? It has: height, zip, town"),
        ("price", {"drop": ["towm"]}, r"no column 'towm', did you mean 'town'"),
        ("town", {}, r"'town' is missing in 10 of the 40 rows"),
        ("price", {"task": "regresion"}, r"Got 'regresion' instead, did you mean 'regression'"),
        ("kind", {"task": "regression"}, "A regression needs a target of numbers"),
        ("kind", {"test_size": 1.5}, "test_size=1.5 does not fit 40 samples"),
        (
            "kind",
            {"drop": ["height", "zip", "town", "owned", "price"]},
            "no column besides the target",
        ),
    ],
)
def test_what_does_not_fit_is_told(file, target, options, message):
    with pytest.raises(DataError, match=message):
        load_table(file, target, **options)


def test_files_that_are_no_tables_are_told(tmp_path):
    with pytest.raises(DataError, match="There is no file"):
        load_table(tmp_path / "none.csv", "y")
    for name in ("broken.parquet", "broken.csv"):
        (tmp_path / name).write_bytes(b'\xff\xfea,b\n"')
        with pytest.raises(DataError, match=f"{name} cannot be read as a table"):
            load_table(tmp_path / name, "y")


def test_times_must_be_made_numbers_first(tmp_path):
    path = tmp_path / "log.parquet"
    pd.DataFrame({"at": pd.to_datetime(["2020-01-01"] * 4), "y": [0, 1, 0, 1]}).to_parquet(path)
    with pytest.raises(DataError, match=r"'at' of .* holds times.*drop=\['at'\]"):
        load_table(path, "y")


def test_arrays_with_and_without_a_test_part(tmp_path):
    X, y = np.arange(60.0).reshape(20, 3), np.arange(20) % 2
    np.savez(tmp_path / "a.npz", X=X, y=y)
    data = load_npz(tmp_path / "a.npz", test_size=0.25)
    assert (data.X.shape, data.X.dtype, data.X_test.shape) == ((15, 3), np.float32, (5, 3))
    images = np.arange(80, dtype=np.uint8).reshape(20, 2, 2)
    np.savez(tmp_path / "b.npz", x_train=images, y_train=y, x_test=images[:5], y_test=y[:5] + 1)
    data = load_npz(tmp_path / "b.npz", scale=255)
    assert (len(data.X), len(data.X_test), data.class_names) == (20, 5, ("0", "1", "2"))
    assert data.X.max() == np.float32(79 / 255)
    assert data.y_test.tolist() == [1, 2, 1, 2, 1]
    assert load_npz(tmp_path / "b.npz").X.dtype == np.uint8
    np.savez(tmp_path / "c.npz", X=X, Y=y)
    with pytest.raises(DataError, match=r"no array 'y'.* It holds: X, Y\."):
        load_npz(tmp_path / "c.npz")


def test_the_encoder_learns_scales_and_categories_of_the_training_part_alone():
    train, other = frame().iloc[:20], frame().iloc[20:].copy()
    other["town"] = "z"
    encoder = clone(TableEncoder()).fit(train.drop(columns="kind"))
    encoded = encoder.transform(train)
    assert (encoder.numeric_, encoder.categorical_) == (
        ["height", "zip", "price"],
        ["town", "owned"],
    )
    np.testing.assert_allclose(encoded["numbers"].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(encoded["numbers"].std(0), 1, atol=1e-6)
    assert (encoded["numbers"].dtype, encoded["codes"].dtype) == (np.float32, np.int64)
    assert encoded["codes"][:4].tolist() == [[1, 2], [2, 1], [0, 2], [3, 1]], "a missing town is 0"
    new = encoder.transform(other)
    assert set(new["codes"][:, 0]) == {0}, "and so is an unknown one"
    assert new["numbers"][:, 0].min() > 1.5, "scaled as the training part was"


def test_quantiles_bring_in_long_tails_and_missing_numbers_are_filled():
    X = pd.DataFrame({"x": [*np.exp(np.arange(10.0)), np.nan]}, dtype=np.float32)
    numbers = TableEncoder("quantile").fit(X).transform(X)["numbers"]
    assert np.isfinite(numbers).all()
    assert abs(np.median(numbers)) < 0.2
    assert TableEncoder().fit(X).transform(X)["numbers"][-1, 0] == pytest.approx(0, abs=1e-6)
    assert TableEncoder().fit_transform(X)["codes"].shape == (11, 0)
    with pytest.raises(ValueError, match="did you mean 'quantile'"):
        TableEncoder("quantiles").fit(X)


def write_sample(folder, n=200):
    rng = np.random.default_rng(0)
    table = np.zeros((n, 55), dtype=int)
    table[:, :10] = rng.integers(0, 3000, (n, 10))
    table[np.arange(n), 10 + np.arange(n) % 4] = 1
    table[np.arange(n), 14 + np.arange(n) % 40] = 1
    table[:, 54] = 1 + np.arange(n) % 7
    (folder / "covertype").mkdir()
    pd.DataFrame(table).to_csv(folder / "covertype" / "covtype_random15000.csv.gz", index=False)


def test_indicators_of_covertype_are_categories(tmp_path):
    write_sample(tmp_path)
    data = load_covertype(data_dir=tmp_path)
    assert (len(data.X), len(data.X_test), data.class_names[1]) == (160, 40, "lodgepole pine")
    everything = pd.concat([data.X, data.X_test])
    assert sorted(everything["soil_type"].unique()) == list(range(40))
    both = everything["soil_type"].astype(int) % 4 == everything["wilderness_area"].astype(int)
    assert both.all(), "soil i stood in rows of area i % 4"
    assert set(data.y) == set(range(7))


def test_covertype_that_is_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_DATA", str(tmp_path))
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "sklearn"))

    def no_network(*args):
        raise OSError("no network")

    monkeypatch.setattr(sklearn_data, "urlretrieve", no_network)
    for full in (False, True):
        with pytest.raises(DataError, match=r"could not be downloaded.* Set HPO_DATA"):
            load_covertype(full=full)
    with pytest.raises(DataError, match="no Covertype in the given data_dir"):
        load_covertype(data_dir=tmp_path)


@pytest.mark.skipif(not (REAL / "covertype").is_dir(), reason="needs Covertype in $HPO_DATA")
def test_the_real_sample():
    data = load_covertype(data_dir=REAL)
    assert (len(data.X), len(data.X_test)) == (12_000, 3_000)
    shares = np.bincount(np.concatenate([data.y, data.y_test])) / 15_000
    np.testing.assert_allclose(
        shares, [0.366, 0.486, 0.062, 0.0045, 0.016, 0.031, 0.035], atol=1e-3
    )
    assert 2000 < data.X["elevation"].mean() < 4000

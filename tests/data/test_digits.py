import subprocess
import sys

import numpy as np
import pytest

from hpo.data import load_digits
from hpo.exceptions import DataError


def rows(X):
    return {row.tobytes() for row in X}


def test_shapes_types_and_range():
    data = load_digits()
    assert data.X.shape == (1437, 64)
    assert data.X_test.shape == (360, 64)
    assert data.X.dtype == np.float32
    assert data.y.dtype == data.y_test.dtype == np.int64
    assert (data.X.min(), data.X.max()) == (0.0, 1.0)
    assert data.X_refit is None


def test_the_test_part_is_held_out_and_stratified():
    data = load_digits(test_size=0.3, seed=1)
    assert not rows(data.X) & rows(data.X_test)
    shares = np.bincount(data.y_test) / np.bincount(np.concatenate([data.y, data.y_test]))
    assert shares == pytest.approx(np.full(10, 0.3), abs=0.01)


def test_the_seed_alone_decides_the_test_part():
    assert rows(load_digits(seed=3).X_test) == rows(load_digits(seed=3).X_test)
    assert rows(load_digits(seed=3).X_test) != rows(load_digits(seed=4).X_test)


def test_a_size_out_of_range_is_told():
    with pytest.raises(DataError, match=r"^test_size=1\.5 does not fit 1797 samples: "):
        load_digits(test_size=1.5)


def test_importing_the_loaders_loads_no_heavy_library():
    heavy = {"torch", "sklearn", "skorch", "torchvision"}
    code = f"import hpo.data, hpo.modules, hpo.nets, sys; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

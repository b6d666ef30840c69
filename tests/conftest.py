"""What every test runs under: one thread, a cache of its own, nothing of the user's touched."""

import os
from pathlib import Path

import pytest

# Before torch and BLAS are loaded: two busy processes with two threads each on two cores are
# many times slower than one thread each.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Keep orders of trackers and unzipped data of the tests out of the user's cache folder."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("HPO_CACHE")
    os.environ["HPO_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["HPO_CACHE"]
    else:
        os.environ["HPO_CACHE"] = before


@pytest.fixture(scope="session")
def repository():
    """Return the folder that holds hpo/, studies/ and search_spaces/."""
    return Path(__file__).parents[1]


def pytest_configure(config):
    """Know the marks of scikit-learn's own tests, which `test_sklearn_search.py` runs."""
    config.addinivalue_line("markers", "thread_unsafe: not to be run in several threads")

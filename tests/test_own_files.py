"""What hpo keeps is the user's alone, unless it is shared; no pickle of others is loaded."""

import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from hpo import Study, StudyData, run_study
from hpo._own_files import is_own, make_folder
from hpo.trackers._order import Order, all_orders

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def open_mask():
    """A mask that hides nothing, so that a mode is what hpo asks for."""
    before = os.umask(0)
    yield
    os.umask(before)


# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates; a store is made in this process.
NOLOAD = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")


def run(storage: str, uri: Path) -> None:
    rng = np.random.default_rng(0)
    data = StudyData(X=rng.normal(size=(40, 2)), y=rng.integers(0, 2, 40))
    run_study(
        Study(
            name="x",
            estimator=LogisticRegression(),
            data=data,
            search_space={"C": [0.1, 1.0]},
            n_trials=1,
            cv=2,
            storage=storage,
            tracker="mlflow",
            tracking_uri=str(uri),
        )
    )


@pytest.fixture
def store(empty_store, tmp_path):
    """MLflow's, which takes seconds to be made."""
    return Path(shutil.copy(empty_store, tmp_path / "mlflow.db"))


@pytest.mark.slow
@NOLOAD
def test_all_files_are_the_users_alone(tmp_path, monkeypatch, store):
    cache = tmp_path / "cache" / "hpo"
    monkeypatch.setenv("HPO_CACHE", str(cache))
    run(f"journal:///{tmp_path}/s.journal", store)
    made = [tmp_path / "s.journal", tmp_path / "s.journal.hpo-lock", tmp_path / "s.journal.files"]
    made += [tmp_path / "cache", cache, *(cache / "tracking").glob("*"), cache / "tracking"]
    made += list((cache / "tracking").glob("*/*"))
    assert len(made) == 8
    assert {str(path): oct(mode(path) & 0o077) for path in made} == {
        str(path): "0o0" for path in made
    }


@pytest.mark.slow
@NOLOAD
def test_an_sqlite_file_is_the_users_alone(tmp_path, monkeypatch, store):
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    run(f"sqlite:///{tmp_path}/s.db", store)
    assert {mode(path) for path in tmp_path.glob("s.db*") if path.is_file()} == {0o600}


@pytest.mark.slow
@NOLOAD
def test_a_shared_journal_stays_shared(tmp_path, monkeypatch, store):
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    journal = tmp_path / "s.journal"
    journal.touch()
    journal.chmod(0o660)
    run(f"journal:///{journal}", store)
    assert mode(journal) == 0o660
    assert mode(tmp_path / "s.journal.hpo-lock") == 0o660
    assert mode(tmp_path / "s.journal.files") == 0o770


class Trap:
    """A pickle that leaves a trace where it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("spoil", ["file", "folder", "link", "owner"])
def test_an_order_that_others_can_write_is_not_loaded(tmp_path, monkeypatch, spoil):
    import pickle

    monkeypatch.setenv("HPO_CACHE", str(tmp_path))
    trace = tmp_path / "trace"
    place = tmp_path / "tracking" / "x-1" / "2"
    make_folder(place)
    order = place / "order-1"
    order.touch(0o600)
    order.write_bytes(pickle.dumps(Trap(trace)))
    if spoil == "file":
        order.chmod(0o620)
    elif spoil == "folder":
        place.chmod(0o777)
    elif spoil == "link":
        elsewhere = tmp_path / "elsewhere"
        order.rename(elsewhere)
        order.symlink_to(elsewhere)
    elif os.getuid() == 0:
        os.chown(order, 1234, 1234)
    else:
        monkeypatch.setattr(os, "getuid", lambda: 1234)
    assert not is_own(order)
    with pytest.raises(PermissionError, match="not this user's alone"):
        Order.read(order)
    assert list(all_orders()) == []
    assert not trace.exists()

"""What every test runs under: one thread, a cache of its own, nothing of the user's touched."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no fault of what is tested.
settings.register_profile("hpo", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hpo")

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


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """An SQLite store with MLflow's tables: making them takes seconds."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def commands():
    """Runs ``hpo`` commands as processes that can be killed."""
    from _commands import Commands

    with pytest.MonkeyPatch.context() as patch:
        for name in ("HPO_STORAGE", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        running = Commands({"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"})
    yield running
    running.close()


class PostgreSQL:
    """A server of the tests' own, with a new database for each that asks for one.

    Parameters
    ----------
    programs : Path
        The folder of ``initdb`` and the like.
    """

    def __init__(self, programs):
        self._programs = programs
        # Below no folder of pytest's, which the user that the server runs as may not enter.
        self._folder = Path(tempfile.mkdtemp(prefix="hpo-postgresql-"))
        self._user = []
        if os.getuid() == 0:  # the server refuses to run as root
            os.chown(self._folder, 65534, 65534)
            self._user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._run("initdb", "-D", "data", "-U", "hpo", "-A", "trust", "--no-sync")
        options = ["-p", f"{self._port}", "-k", f"{self._folder}", "-h", "127.0.0.1", "-F"]
        self._server = subprocess.Popen(
            [*self._user, programs / "postgres", "-D", "data", *options],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._numbers = count()

    def _run(self, program, *arguments):
        subprocess.run(
            [*self._user, self._programs / program, *arguments],
            cwd=self._folder,
            check=True,
            capture_output=True,
            timeout=120,
        )

    def new_database(self):
        """Return the URL of an empty database."""
        name = f"test_{next(self._numbers)}"
        deadline = time.monotonic() + 60
        while True:
            try:
                where = ["-h", "127.0.0.1", "-p", f"{self._port}", "-U", "hpo"]
                self._run("createdb", *where, name)
            except subprocess.CalledProcessError:  # it is starting
                if time.monotonic() > deadline or self._server.poll() is not None:
                    raise
                time.sleep(0.1)
            else:
                return f"postgresql://hpo@127.0.0.1:{self._port}/{name}"

    def close(self):
        """End the server and remove its files."""
        self._server.send_signal(3)  # at once: nobody needs its files again
        self._server.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


@pytest.fixture(scope="session")
def _postgresql_server():
    pytest.importorskip("psycopg", reason="the driver of PostgreSQL is not installed (psycopg)")
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    programs = next((place for place in places if (place / "postgres").exists()), None)
    if programs is None or not hasattr(os, "getuid"):
        pytest.skip("there is no PostgreSQL server here (initdb, postgres)")
    if os.getuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("PostgreSQL does not run as root, and there is no setpriv")
    server = PostgreSQL(programs)
    yield server
    server.close()


@pytest.fixture
def storage_url(request, tmp_path):
    """Return a function that returns the URL of an empty storage of a kind.

    PostgreSQL's is to be used by other processes alone: connections that nobody has closed when
    they are forgotten make later tests warn.
    """

    def url(kind):
        if kind == "postgresql":
            return request.getfixturevalue("_postgresql_server").new_database()
        path = {"sqlite": tmp_path / "s.db", "journal": tmp_path / "s.log"}[kind]
        return f"{kind}:///{path}"

    return url


def pytest_configure(config):
    """Know the marks of scikit-learn's own tests, and let workers begin with the slow files."""
    config.addinivalue_line("markers", "thread_unsafe: not to be run in several threads")
    if hasattr(config.option, "loadscopereorder"):  # by xdist: the files of the most tests first
        config.option.loadscopereorder = False


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Put the files with the most slow tests first, so that no worker is left with one of them."""
    if hasattr(config, "workerinput"):
        n_slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        items.sort(key=lambda item: -n_slow[item.path])

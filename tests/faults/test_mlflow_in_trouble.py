"""MLflow away, slow, broken or full: the study neither waits nor loses, and `hpo sync` mends it."""

import shutil
import sqlite3

import pytest
from _compare import complaints
from _mlflow_server import MlflowServer
from _server import Proxy
from _studies import N_TRIALS, ROUNDS, SGD

STORAGE = "journal:///hpo.journal"

WATCHED = """
import sys

def note(event, args):
    if event == "socket.connect":
        with open("connections.txt", "a") as file:
            print(args[1], file=file)

sys.addaudithook(note)
"""
"""Has the driver write down to whom it connects."""


@pytest.fixture(scope="module")
def database(empty_store, tmp_path_factory):
    database = tmp_path_factory.mktemp("server") / "mlflow.db"
    shutil.copy(empty_store, database)
    return database


@pytest.fixture(scope="module")
def server(database):
    server = MlflowServer(database)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def proxy(server):
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


def delete_all(database):
    """Have the store hold no runs, without its server noticing."""
    with sqlite3.connect(database, timeout=30) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        for (table,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN "
            "('latest_metrics', 'metrics', 'params', 'tags', 'runs', 'experiment_tags')"
        ).fetchall():
            connection.execute(f"DELETE FROM {table}")
        connection.execute("DELETE FROM experiments WHERE name = 'faults'")
    connection.close()


SHORT = [("error", "whole"), ("html", "middle")]
ALL = [(m, w) for m in ("away", "silent", "error", "html", "half") for w in ("whole", "middle")]


@pytest.mark.parametrize(("mode", "when"), SHORT if ROUNDS == 1 else ALL)
def test_a_server_in_trouble_costs_a_study_nothing(
    mode, when, database, proxy, commands, new_folder, monkeypatch, tally
):
    for i in range(ROUNDS if mode != "silent" else min(ROUNDS, 5)):
        delete_all(database)
        folder = new_folder(f"{i}", SGD, store=False)
        monkeypatch.chdir(folder)
        since = 0 if when == "whole" else 8 + 3 * i
        proxy.n_requests, proxy.mode = 0, "fine"
        proxy.on_request = lambda n, since=since: setattr(
            proxy, "mode", mode if n >= since else "fine"
        )
        run = ["run", "study.py", "--tracking-uri", proxy.uri]
        text = commands.run(*run, folder=folder, setup=WATCHED)
        assert proxy.n_requests >= since
        assert "Traceback" not in text
        assert "`hpo sync` sends it" in text or mode == "half"
        port = proxy.uri.rpartition(":")[2]
        told = folder / "connections.txt"
        assert port not in (told.read_text() if told.exists() else "")  # it never talks to it
        assert complaints("faults", STORAGE, n_trials=N_TRIALS) == []

        proxy.mode, proxy.on_request = "fine", lambda n: None
        text = commands.run("sync", folder=folder)
        wrong = complaints(
            "faults", STORAGE, n_trials=N_TRIALS, tracking_uri=f"sqlite:///{database}"
        )
        tally(f"MLflow: {mode}", f"{when} of the run", 1, 0, len(wrong))
        assert wrong == [], text
        assert "Nothing waits" in commands.run("sync", folder=folder)


def test_a_slow_server_costs_a_study_nothing(
    database, proxy, commands, new_folder, monkeypatch, tally
):
    delete_all(database)
    folder = new_folder("slow", SGD, store=False)
    monkeypatch.chdir(folder)
    proxy.delay = 0.2 if ROUNDS == 1 else 5.0
    run = ["run", "study.py", "--tracking-uri", proxy.uri]
    commands.run(*run, folder=folder, setup=WATCHED)
    assert complaints("faults", STORAGE, n_trials=N_TRIALS) == []
    proxy.delay = 0.0
    text = commands.run("sync", folder=folder)
    wrong = complaints("faults", STORAGE, n_trials=N_TRIALS, tracking_uri=f"sqlite:///{database}")
    tally(f"MLflow: {0.2 if ROUNDS == 1 else 5} s a request", "whole of the run", 1, 0, len(wrong))
    assert wrong == [], text


FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, resource.RLIM_INFINITY))
"""


def test_a_full_disk_of_an_sqlite_store(commands, new_folder, monkeypatch, tally):
    for i in range(ROUNDS):
        folder = new_folder(f"{i}", SGD)
        monkeypatch.chdir(folder)
        most = (folder / "mlflow.db").stat().st_size + 4096 * (i % 10)
        text = commands.run("run", "study.py", folder=folder, setup=FULL.format(most=most))
        assert "Traceback" not in text
        assert "`hpo sync` sends it" in text
        assert complaints("faults", STORAGE, n_trials=N_TRIALS) == []
        commands.run("sync", folder=folder)
        tracking = f"sqlite:///{folder / 'mlflow.db'}"
        wrong = complaints("faults", STORAGE, n_trials=N_TRIALS, tracking_uri=tracking)
        tally("MLflow: disk full", "SQLite file", 1, 0, len(wrong))
        assert wrong == [], text


@pytest.mark.skipif(ROUNDS == 1, reason="starts two servers: only in the long form")
def test_a_full_disk_of_a_server(empty_store, commands, new_folder, tmp_path, monkeypatch, tally):
    database = tmp_path / "full.db"
    shutil.copy(empty_store, database)
    folder = new_folder("study", SGD, store=False)
    monkeypatch.chdir(folder)
    server = MlflowServer(database, most_bytes=database.stat().st_size + 8192)
    server.start()
    proxy = Proxy(server.port)
    try:
        text = commands.run("run", "study.py", "--tracking-uri", proxy.uri, folder=folder)
    finally:
        proxy.close()
        server.stop()
    assert "has not reached" in text or "have not reached" in text
    assert complaints("faults", STORAGE, n_trials=N_TRIALS) == []
    server = MlflowServer(database)
    server.start()
    try:
        commands.run("sync", "faults", "--tracking-uri", server.uri, folder=folder)
        tracking = f"sqlite:///{database}"
        wrong = complaints("faults", STORAGE, n_trials=N_TRIALS, tracking_uri=tracking)
    finally:
        server.stop()
    tally("MLflow: disk full", "server", 1, 0, len(wrong))
    assert wrong == []

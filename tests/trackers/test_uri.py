import pytest

from hpo.exceptions import PluginError
from hpo.trackers.mlflow.uri import resolve_tracking_uri, store_home, ui_command


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (None, "mlflow.db"),
        ("sqlite:///runs/x.db", "runs/x.db"),
        ("runs/x.db", "runs/x.db"),
        ("runs/x.sqlite3", "runs/x.sqlite3"),
        ("sqlite:///x.db?timeout=5", "x.db?timeout=5"),
    ],
)
def test_relative_paths_are_fixed_to_the_current_folder(given, path, tmp_path):
    assert resolve_tracking_uri(given) == f"sqlite:///{tmp_path}/{path}"
    assert resolve_tracking_uri(resolve_tracking_uri(given)) == resolve_tracking_uri(given)


@pytest.mark.parametrize(
    "uri",
    ["http://host:5000", "https://u:p@host", "postgresql://u:p@host/db", "sqlite:////x.db"],
)
def test_other_stores_pass_through(uri, monkeypatch):
    assert resolve_tracking_uri(uri) == uri
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert resolve_tracking_uri() == uri
    assert resolve_tracking_uri("http://given") == "http://given"


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(uri):
    with pytest.raises(PluginError, match=r"names no SQLite file.*Write sqlite:///mlflow\.db"):
        resolve_tracking_uri(uri)


@pytest.mark.parametrize("uri", ["mlruns", "./mlruns", "file:mlruns", "file:./mlruns"])
def test_a_folder_is_refused_unless_mlflow_is_told_to_allow_it(uri, tmp_path, monkeypatch):
    with pytest.raises(PluginError, match="MLflow no longer tracks runs in folders"):
        resolve_tracking_uri(uri)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert resolve_tracking_uri(uri) == f"file://{tmp_path}/mlruns"


def test_the_interface_looks_at_the_store_and_its_artifacts(tmp_path):
    uri = resolve_tracking_uri()
    command = ui_command(uri, port=5001)
    assert command[command.index("--backend-store-uri") + 1] == uri
    assert command[command.index("--default-artifact-root") + 1] == f"file://{tmp_path}/mlruns"
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--port") + 1] == "5001"
    assert store_home(uri) == tmp_path
    assert store_home("http://host") is None


def test_a_server_needs_no_interface():
    with pytest.raises(PluginError, match=r"http://host:5000 is a server already"):
        ui_command("http://host:5000")

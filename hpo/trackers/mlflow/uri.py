"""Resolve tracking URIs, and build the command of MLflow's web interface."""

import os
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hpo._redaction import redact
from hpo.exceptions import PluginError

__all__ = ["resolve_tracking_uri", "store_home", "ui_command"]

_SQLITE = "sqlite:///"
_DATABASE_SUFFIXES = {".db", ".sqlite", ".sqlite3"}


def resolve_tracking_uri(uri: str | None = None) -> str:
    """Return where runs are tracked, independent of the current folder.

    Parameters
    ----------
    uri : str or None, default=None
        Any MLflow tracking URI, or the path of an SQLite file. None means
        ``$MLFLOW_TRACKING_URI``, else ``mlflow.db`` in the current folder.

    Raises
    ------
    PluginError
        If the store is in memory, or a folder of files, which MLflow no longer supports.
    """
    text = str(uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}mlflow.db").strip()
    if text.startswith("sqlite:"):
        return _resolve_sqlite(text)
    is_path = "://" not in text and not text.startswith(("file:", "databricks", "uc"))
    if is_path and Path(text).suffix.lower() in _DATABASE_SUFFIXES:
        return f"{_SQLITE}{Path(text).expanduser().absolute()}"
    if is_path or text.startswith("file:"):
        return _resolve_folder(text)
    return text


def _resolve_sqlite(text: str) -> str:
    path, mark, query = text.removeprefix(_SQLITE).partition("?")
    if not text.startswith(_SQLITE) or not path or ":memory:" in text or "mode=memory" in query:
        raise PluginError(
            f"'{text}' names no SQLite file. Runs are written by a process of their own, which "
            "cannot see a database in memory. Write sqlite:///mlflow.db, or sqlite:////path/to/it."
        )
    return f"{_SQLITE}{Path(path).expanduser().absolute()}{mark}{query}"


def _resolve_folder(text: str) -> str:
    if os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() not in {"true", "1"}:
        raise PluginError(
            f"'{text}' is a folder, and MLflow no longer tracks runs in folders. "
            "Write sqlite:///mlflow.db, or http://host:port of a tracking server; to keep to "
            "the folder set MLFLOW_ALLOW_FILE_STORE=true."
        )
    path = unquote(urlsplit(text).path) if text.startswith("file:") else text
    return Path(path).expanduser().absolute().as_uri()


def store_home(tracking_uri: str) -> Path | None:
    """Return the folder of a store's SQLite file, or None for any other store.

    MLflow writes the artifacts of such a store to ``mlruns`` in the current folder; next to the
    file they can be found again.
    """
    if not tracking_uri.startswith(_SQLITE):
        return None
    return Path(tracking_uri.removeprefix(_SQLITE).partition("?")[0]).parent


def ui_command(tracking_uri: str, host: str = "127.0.0.1", port: int = 5000) -> list[str]:
    """Return the command line that shows a store in MLflow's web interface.

    Parameters
    ----------
    tracking_uri : str
        As `resolve_tracking_uri` returns it.
    host : str, default="127.0.0.1"
    port : int, default=5000

    Raises
    ------
    PluginError
        If the store is a server already: open its address instead.
    """
    if tracking_uri.startswith(("http://", "https://", "databricks")):
        raise PluginError(f"{redact(tracking_uri)} is a server already: open it in a browser.")
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", tracking_uri]
    home = store_home(tracking_uri)
    if home is not None:
        command += ["--default-artifact-root", (home / "mlruns").as_uri()]
        command += ["--artifacts-destination", (home / "mlartifacts").as_uri()]
    return [*command, "--host", host, "--port", str(port), "--workers", "1"]

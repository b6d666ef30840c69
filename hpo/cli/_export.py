"""``hpo export-model``: the winner of a study as a folder that MLflow loads, without a server."""

import os
from pathlib import Path

from hpo._redaction import redact
from hpo.cli._console import echo
from hpo.cli._json import print_json
from hpo.cli._storage import readable_storage, stored_name
from hpo.exceptions import StorageError
from hpo.storage.stored_study import StoredStudy
from hpo.storage.study_facts import read_study
from hpo.trackers import environment
from hpo.trackers.mlflow import build_model, model_files

__all__ = ["export_model"]


def export_model(name: str, folder: Path, storage: str | None, *, as_json: bool = False) -> None:
    """Write the winner of a study to a folder.

    Parameters
    ----------
    name : str
        See `load_result`.
    folder : Path
        It must not exist, or be empty.
    storage : str or None
        See `named_storage`.
    as_json : bool, default=False
        Print JSON instead of a line.

    Raises
    ------
    StorageError
        If there is no such study, it has no refitted winner here, or the folder has files.
    """
    url = readable_storage(storage)
    store = StoredStudy(stored_name(name, url), url)
    files = model_files(read_study(store).files)
    if not files:
        raise StorageError(
            f"The study '{name}' has no refitted winner in {redact(url)}: it has not ended yet, "
            "was run without a refit or with --tracker null, or its files are on another machine. "
            "Run it again (`hpo run`) with a tracker; no trial is trained anew."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StorageError(f"{folder} is there already: name a folder that is new or empty.")
    before = dict(os.environ)
    os.environ.update(environment())  # MLflow is quiet, and sends nothing
    try:
        if folder.exists():
            folder.rmdir()
        folder.parent.mkdir(parents=True, exist_ok=True)
        build_model(files, folder)
    except OSError as error:
        raise StorageError(f"The model cannot be written to {folder}: {error}.") from error
    finally:
        os.environ.clear()
        os.environ.update(before)
    if as_json:
        print_json({"study": store.name, "folder": str(folder)})
    else:
        echo(f"{folder}   mlflow.pyfunc.load_model({str(folder)!r})")

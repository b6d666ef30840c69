"""``hpo export-model``: the winner of a study as a folder that MLflow loads, without a server."""

import os
from pathlib import Path

from hpo._stored_model import MissingModel
from hpo.cli._console import echo
from hpo.cli._json import print_json
from hpo.cli._storage import readable_storage
from hpo.exceptions import StorageError
from hpo.storage.reader import StorageReader
from hpo.storage.study_facts import model_files, read_study
from hpo.study.load import read_outline
from hpo.trackers import environment
from hpo.trackers.mlflow import build_model

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
    reader = StorageReader(readable_storage(storage))
    winner = read_outline(reader, name).refitted
    if isinstance(winner, MissingModel):
        raise StorageError(winner.reason)
    store = reader.study(reader.stored_name(name))
    files = model_files(read_study(store).files)
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

"""Covertype: predict the kind of forest on a patch of land."""

import warnings
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from hpo.data._base import StudyData
from hpo.data._partition import random_split, seal_part
from hpo.data.folder import folders_to_search
from hpo.exceptions import DataError

__all__ = ["load_covertype"]

SAMPLE = "covertype/covtype_random15000.csv.gz"
N_SAMPLE = 15_000
NUMERIC = (
    "elevation",
    "aspect",
    "slope",
    "horizontal_distance_to_hydrology",
    "vertical_distance_to_hydrology",
    "horizontal_distance_to_roadways",
    "hillshade_9am",
    "hillshade_noon",
    "hillshade_3pm",
    "horizontal_distance_to_fire_points",
)
N_WILDERNESS, N_SOIL = 4, 40
CLASSES = (
    "spruce/fir",
    "lodgepole pine",
    "ponderosa pine",
    "cottonwood/willow",
    "aspen",
    "Douglas fir",
    "krummholz",
)


def load_covertype(
    full: bool = False,
    seed: int = 0,
    data_dir: str | Path | None = None,
    *,
    test_size: float = 0.2,
) -> StudyData:
    """Return Covertype (Blackard and Dean 1999): a random sample of 15,000 patches, or all.

    Parameters
    ----------
    full : bool, default=False
        Whether to use all 581,012 rows, which scikit-learn's ``fetch_covtype`` downloads.
    seed : int, default=0
        Seed of the choice of the held-out rows.
    data_dir : path, optional
        Folder that holds ``covertype/covtype_random15000.csv.gz``. If None, it searches
        ``$HPO_DATA`` and the cache folder (``$HPO_CACHE``, else ``~/.cache/hpo``). If the sample
        is in neither, it is drawn from all rows.
    test_size : float, default=0.2
        Share of the rows that is held out, between 0 and 1 exclusive, drawn at random, stratified
        by class.

    Returns
    -------
    StudyData
        ``X`` is a data frame of ten numeric columns (float32: elevation, slope, distances, ...)
        and two categorical ones (4 wilderness areas, 40 soil types), which are indicators in the
        files; ``y`` int64 of shape (n_samples,), classes 0 to 6.

    Raises
    ------
    DataError
        If the rows are not found and cannot be downloaded, or ``test_size`` is out of range.
    """
    import pandas as pd

    source = None
    table, classes = _all_rows() if full else _sample(data_dir, seed)
    if not full:
        source = f"a random sample of {len(table):,} rows of Covertype"
    numbers, wilderness, soil = np.split(table, [len(NUMERIC), len(NUMERIC) + N_WILDERNESS], axis=1)
    X = pd.DataFrame(numbers.astype(np.float32), columns=list(NUMERIC))
    for name, indicators in (("wilderness_area", wilderness), ("soil_type", soil)):
        X[name] = pd.Categorical(indicators.argmax(axis=1))
    y = classes.astype(np.int64) - 1
    return seal_part(X, y, test_size, seed, class_names=CLASSES, source=source)


def _sample(
    data_dir: str | Path | None, seed: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    import pandas as pd

    files = [folder / SAMPLE for folder in folders_to_search(data_dir)]
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        if data_dir is not None:
            raise DataError(f"There is no Covertype in the given data_dir. Looked for {files[0]}.")
        table, classes = _all_rows(f" Looked for {' and '.join(map(str, files))}.")
        rows, _ = random_split(classes, N_SAMPLE, seed, "the sample")
        return table[rows], classes[rows]
    try:
        values = pd.read_csv(path).to_numpy(dtype=np.float64)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table ({error}). Replace it.") from error
    n_columns = len(NUMERIC) + N_WILDERNESS + N_SOIL + 1
    if values.shape[1] != n_columns:
        raise DataError(f"{path} must have {n_columns} columns. Got {values.shape[1]} instead.")
    return values[:, :-1], values[:, -1]


def _all_rows(searched: str = "") -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    from sklearn.datasets import fetch_covtype

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Retry downloading")
            table, classes = fetch_covtype(return_X_y=True, n_retries=1)
    except (OSError, HTTPException) as error:
        raise DataError(
            f"Covertype is not on this machine and could not be downloaded.{searched} Set HPO_DATA "
            f"to a folder that holds {SAMPLE}, which is a sample of it. All rows are only "
            f"available by scikit-learn's fetch_covtype, with a network.\n{error}"
        ) from error
    return table, classes

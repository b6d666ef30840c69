"""Asks which net for tables suits a table of your own: ``--table FILE --target COLUMN``.

A fifth of the rows is held out; on the rest, five folds decide. The target tells whether classes or
numbers are to be predicted. Without a table, it is the wines that come with scikit-learn (178 rows,
three classes). Where one class is rare, search another score: ``--scoring balanced_accuracy``.
"""

from pathlib import Path

import torch
from sklearn.datasets import load_wine
from sklearn.pipeline import Pipeline
from skorch.callbacks import InputShapeSetter

from hpo import Study
from hpo.callbacks import LRSchedule
from hpo.data import TableEncoder, load_table
from hpo.modules import TabularNet, table_sizes
from hpo.nets import RegularizedClassifier, RegularizedRegressor, ScaledTargetMixin

EPOCHS = 20


class Regressor(ScaledTargetMixin, RegularizedRegressor):
    """A regressor on a target of any unit."""


def study(table: Path | None = None, target: str = "target") -> Study:
    """Search a net for a table.

    Parameters
    ----------
    table : Path
        A Parquet file, or a text with names in its first line and commas between values.
    target : str
        The column to predict.
    """
    data = load_table(load_wine(as_frame=True).frame if table is None else table, target)
    classes = data.class_names
    net = (RegularizedClassifier if classes else Regressor)(
        TabularNet,
        module__n_classes=len(classes) if classes else 1,
        optimizer=torch.optim.AdamW,
        max_epochs=EPOCHS,
        iterator_train__shuffle=True,
        callbacks=[
            ("sizes", InputShapeSetter(param_name="sizes", input_dim_fn=table_sizes)),
            ("schedule", LRSchedule("one_cycle", epochs=EPOCHS)),
        ],
        train_split=None,
        verbose=0,
    )
    return Study(
        name=f"{table.stem if table else 'wine'}_{target}",
        estimator=Pipeline([("table", TableEncoder()), ("net", net)]),
        data=data,
        search_space="../search_spaces/own_table.yaml",
        scoring="accuracy" if classes else "r2",
        n_trials=30,
    )

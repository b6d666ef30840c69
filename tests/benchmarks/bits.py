"""Same seed, same bits: ``python tests/benchmarks/bits.py``.

Runs one study serially and in two processes and compares every value of every report: the
score and the training loss of each fold, and the mean score of the epoch.
"""

import sys
from collections.abc import Sequence

import torch
from _bench import Workplace, digits_net, one_thread, report, sizes, table, verdict
from sklearn.model_selection import StratifiedKFold

from hpo import Study, StudyResult
from hpo.data import load_digits

SPACE = {
    "lr": {"type": "float", "low": 1e-3, "high": 1.0, "log": True},
    "batch_size": [32, 64, 128],
    "optimizer": ["torch.optim.SGD", "torch.optim.Adam"],
    "module__dropout": {"type": "float", "low": 0.0, "high": 0.5},
    "module__hidden_units": {"type": "int", "low": 32, "high": 96, "step": 32},
}

Values = dict[tuple[int | str, ...], str]


def values_of(result: StudyResult) -> Values:
    """Return every value by trial, epoch and fold, exactly as it is (also nan and -0.0)."""
    values: Values = {}
    for record in result.records:
        for step in record.reports:
            values[record.number, step.step, "mean score"] = step.value.hex()
            named = {"score": step.fold_values, **step.metrics}
            for name, of_folds in named.items():
                for fold, value in enumerate(of_folds):
                    values[record.number, step.step, name, fold] = value.hex()
    return values


def main(argv: Sequence[str] | None = None) -> dict[str, int]:
    """Run the comparison, print it and return the numbers of equal and of all values."""
    size = sizes(__doc__, n_trials=8, folds=5, epochs=5).parse_args(argv)
    study = Study(
        name="bits",
        estimator=digits_net(optimizer=torch.optim.Adam),
        data=load_digits(),
        search_space=SPACE,
        scoring="accuracy",
        cv=StratifiedKFold(size.folds, shuffle=True, random_state=0),
        epochs=size.epochs,
        n_trials=size.n_trials,
        sampler="random",
        pruner="nop",
        refit=False,
    )
    with one_thread(), Workplace(not size.untracked) as place:
        serial = values_of(place.run(study).result)
        process = values_of(place.run(study.replace(executor="process", n_jobs=2)).result)
    keys = serial.keys() | process.keys()
    equal = sum(serial.get(key) == process.get(key) for key in keys)
    kinds = sorted({str(key[2]) for key in keys})
    rows = [
        (
            kind,
            sum(serial.get(k) == process.get(k) for k in keys if k[2] == kind),
            sum(k[2] == kind for k in keys),
        )
        for kind in kinds
    ]
    report(
        "Serial and process, bit for bit",
        f"{size.n_trials} random trials x {size.folds} folds x {size.epochs} epochs of digits, "
        "with dropout and shuffling; one process against two workers.",
        table(("value", "equal", "of"), [*rows, ("all", equal, len(keys))]),
        f"Target: all equal: {verdict(equal == len(keys))}.",
    )
    return {"equal": equal, "all": len(keys)}


if __name__ == "__main__":
    main(sys.argv[1:])

"""What a study says of itself, though nothing of it is wrong."""

import numpy as np
import pytest
import torch
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Checkpoint, EarlyStopping, LRScheduler
from skorch.dataset import ValidSplit
from torch import nn

from hpo import HPOSearchCV, Study, StudyData, run_study
from hpo.nets import RegularizedClassifier
from hpo.space import SearchSpace
from hpo.study._notes import note_on_train_split

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3)).astype("float32")
RARE = (np.arange(200) % 33 == 0).astype("int64")  # 3.5 %
EVEN = (X[:, 0] > 0).astype("int64")
LR = SearchSpace.load({"lr": [0.1]})


def net(cls=NeuralNetClassifier, **settings):
    return cls(nn.Linear, module__in_features=3, module__out_features=2, **settings)


def ends(monitor="valid_loss"):
    return [EarlyStopping(monitor=monitor)]


@pytest.mark.parametrize(
    ("estimator", "told"),
    [
        (net(), True),
        (net(NeuralNetRegressor), True),
        (Pipeline([("scale", StandardScaler()), ("net", net())]), True),
        (net(train_split=ValidSplit(5, stratified=True)), True),  # no telling it from the default
        (net(callbacks=[LRScheduler()]), True),
        (net(callbacks=ends("train_loss")), True),
        (net(callbacks=ends()), False),
        (net(callbacks=[("stop", EarlyStopping)]), False),
        (net(callbacks=[Checkpoint()]), False),
        (net(train_split=None), False),
        (net(train_split=ValidSplit(0.1)), False),
        (net(RegularizedClassifier), False),
        (LogisticRegression(), False),
    ],
)
def test_a_part_set_aside_by_default_is_told_of(estimator, told):
    assert bool(note_on_train_split(estimator, LR)) is told


def test_who_searches_it_knows_of_it():
    space = SearchSpace.load({"train_split": ["x", "y"]})
    assert note_on_train_split(net(), space) == ""


def test_the_note_is_among_the_studys():
    settled = net(criterion=nn.CrossEntropyLoss, max_epochs=1, verbose=0)
    study = Study(
        name="aside",
        estimator=settled,
        data=StudyData(X=X, y=EVEN),
        search_space={"lr": [0.1]},
        cv=2,
        n_trials=1,
        storage=None,
        tracker="null",
    )
    (note,) = run_study(study).notes
    assert note.startswith("a fifth of every fold")
    assert "train_split=None" in note
    assert run_study(study.replace(estimator=settled.set_params(train_split=None))).notes == ()


def majority(y, estimator=None, space=None, scoring="accuracy", **settings):
    search = HPOSearchCV(
        estimator or DummyClassifier(),
        space or {"strategy": ["most_frequent", "prior"]},
        sampler="grid",
        n_trials=None,
        scoring=scoring,
        cv=3,
        random_state=0,
        **settings,
    )
    return " ".join(search.fit(X, y).result_.notes)


@pytest.mark.parametrize(
    "scoring",
    ["accuracy", None, make_scorer(accuracy_score), ["accuracy", "f1_macro"]],
    ids=["name", "own", "scorer", "several"],
)
def test_trials_that_tie_with_the_majority_are_told_of(scoring):
    refit = "accuracy" if isinstance(scoring, list) else True
    estimator = LogisticRegression()
    told = majority(RARE, estimator, {"C": [1e-4, 1e-3]}, scoring=scoring, refit=refit)
    assert "2 of 2 trials" in told
    assert "(0.965)" in told
    assert "no better accuracy" in told
    assert "--scoring" in told
    assert "balanced_accuracy" in told


def test_text_is_counted_too():
    assert "(0.965)" in majority(np.array(["well", "ill"])[RARE])


def test_other_scores_and_trials_that_learn_are_not():
    assert majority(RARE, scoring="balanced_accuracy") == ""
    assert majority(EVEN, LogisticRegression(), {"C": [0.1, 1.0]}) == ""
    assert majority(EVEN) == ""  # half of the rows is no frequent class
    assert majority(RARE, space={"strategy": ["most_frequent", "uniform"]}) == ""
    assert majority(RARE, space={"strategy": ["most_frequent"]}) == ""  # one says nothing


def test_nets_that_name_the_frequent_class_alone_are_told_of():
    idle = net(
        RegularizedClassifier, max_epochs=10, verbose=0, optimizer=torch.optim.SGD, batch_size=64
    )
    assert "3 of 3 trials" in majority(RARE, idle, {"lr": [0.4, 0.5, 0.6]}, pruner="nop")


def test_reports_that_a_damaged_journal_has_lost_are_told(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    study = Study(
        name="damaged",
        estimator=SGDClassifier(random_state=0),
        data=StudyData(X=X, y=(X[:, 0] > 0).astype(int)),
        search_space={"alpha": {"type": "float", "low": 1e-4, "high": 1.0}},
        cv=2,
        epochs=4,
        n_trials=2,
        pruner="nop",
        storage=f"journal:///{tmp_path}/hpo.journal",
        tracker="null",
    )
    assert not any("lost reports" in note for note in run_study(study).notes)
    path = tmp_path / "hpo.journal"
    lines = path.read_bytes().splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines) if b"hpo:report:3" in line)
    lines[place] = b"#" * (len(lines[place]) - 1) + b"\n"
    path.write_bytes(b"".join(lines))
    (tmp_path / "hpo.journal.snapshot").unlink(missing_ok=True)
    (note,) = [n for n in run_study(study).notes if "lost reports" in n]
    assert "trials 0 (epochs 3)" in note

"""Hints for names that are known by other words, and all mistakes of a space at once."""

import pytest
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from skorch import NeuralNetClassifier

from hpo import SearchSpace
from hpo.exceptions import SpaceError
from hpo.modules import MLP

F = {"type": "float", "low": 0.1, "high": 0.5}
NET = NeuralNetClassifier(MLP, module__n_features=2, module__n_classes=2)


@pytest.mark.parametrize(
    ("estimator", "name", "meant"),
    [
        (NET, "learning_rate", "lr"),
        (NET, "weight_decay", "optimizer__weight_decay"),
        (NET, "l2", "optimizer__weight_decay"),
        (NET, "epochs", "max_epochs"),
        (NET, "n_epochs", "max_epochs"),
        (NET, "batch", "batch_size"),
        (NET, "bs", "batch_size"),
        (NET, "optim", "optimizer"),
        (NET, "loss", "criterion"),
        (NET, "dropout_rate", "module__dropout"),
        (NET, "module__hidden_size", "module__hidden_units"),
        (NET, "optimizer__learning_rate", "optimizer__lr"),
        (Pipeline([("net", NET)]), "learning_rate", "net__lr"),
        (Pipeline([("net", NET)]), "net__learning_rate", "net__lr"),
        (MLPClassifier(), "lr", "learning_rate_init"),
        (MLPClassifier(), "epochs", "max_iter"),
        (SGDClassifier(), "lr", "eta0"),
        (SGDClassifier(), "weight_decay", "alpha"),
    ],
)
def test_other_words_for_a_parameter(estimator, name, meant):
    with pytest.raises(SpaceError) as error:
        SearchSpace.load({name: F}).check(estimator)
    assert f", did you mean '{meant}'?" in str(error.value)


BAD = """\
learning_rate: {type: flaot, low: abc, high: 0.1}
lr: {type: float, low: 1, high: 0.1}
optimizer: {type: categorical, choices: []}
optimizer__betas: {type: float, low: 0, high: 1}
batch: [16, 32]
module__dropoutt: {type: float, low: 0, high: 0.5}
"""


def test_all_mistakes_are_told_at_once_wrong_types_too():
    with pytest.raises(SpaceError) as error:
        SearchSpace.loads(BAD, "space.yaml", NET)
    assert [text.removeprefix("space.yaml: ") for text in error.value.problems] == [
        "learning_rate: `type` must be float, int or categorical, got 'flaot', "
        "did you mean 'float'? (line 1).",
        "learning_rate: `low` must be a number, got 'abc' (line 1).",
        "learning_rate: 'learning_rate' is not a parameter of NeuralNetClassifier, "
        "did you mean 'lr'? (line 1).",
        "lr: `low <= high` must hold, but got (low=1.0, high=0.1) (line 2).",
        "optimizer: `choices` is empty: give at least one value (line 3).",
        "batch: 'batch' is not a parameter of NeuralNetClassifier, "
        "did you mean 'batch_size'? (line 5).",
        "module__dropoutt: hpo.modules.MLP takes no 'dropoutt', "
        "did you mean 'module__dropout'? (line 6).",
    ]


def test_a_list_of_spaces_too():
    with pytest.raises(SpaceError) as error:
        SearchSpace.load([{"learning_rate": F}, {"lr": 3}], NET)
    assert [text.partition(": ")[0] for text in error.value.problems] == ["grids[0]", "grids[1]"]


def test_a_circle_of_conditions_ends():
    space = {"a": {**F, "when": {"b": [1]}}, "b": {"type": "int", "low": 0, "high": 1}}
    space["b"]["when"] = {"a": [1]}
    with pytest.raises(SpaceError):
        SearchSpace.load(space, NET)


@pytest.mark.parametrize(
    ("text", "line", "caret"),
    [
        ("lr: [1, 2\nbatch_size: 3", "batch_size: 3", 10),
        ("lr: {type: float\n", "lr: {type: float", 4),
        ("a: 1\n\tb: 2", " b: 2", 0),
    ],
)
def test_a_caret_stands_under_a_mistake_of_yaml(text, line, caret):
    with pytest.raises(SpaceError) as error:
        SearchSpace.loads(text, "x.yaml")
    *_, shown, mark = str(error.value).splitlines()
    assert shown.removeprefix("    ") == line
    assert mark.removeprefix("    ") == " " * caret + "^"


def test_a_long_line_is_cut_around_its_mistake():
    with pytest.raises(SpaceError) as error:
        SearchSpace.loads("a: " + "x" * 500 + ": }", "x.yaml")
    *_, shown, mark = str(error.value).splitlines()
    assert len(shown) <= 80
    assert shown[len(mark) - 1] == ":"

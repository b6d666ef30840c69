"""The names of a space against estimators: scikit-learn's, skorch's, and both nested."""

from pathlib import Path

import pytest
import torch
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping, EpochScoring, LRScheduler, PrintLog
from skorch.helper import SliceDataset

from hpo.exceptions import SpaceError
from hpo.space import SearchSpace

MLP = Path(__file__).parents[2] / "search_spaces" / "mlp.yaml"


class Module(torch.nn.Module):
    def __init__(self, hidden_units=8, n_layers=1, dropout=0.0):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)

    def forward(self, X):
        return self.layer(X)


class AnyModule(Module):
    def __init__(self, **kwargs):
        super().__init__()


class Net(NeuralNetClassifier):
    """A net with a penalty and a second module that it builds itself."""

    def __init__(self, *args, l1_lambda=0.0, teacher=None, **kwargs):
        self.l1_lambda = l1_lambda
        self.teacher = teacher
        super().__init__(*args, **kwargs)


def net(**kwargs):
    return Net(Module, **kwargs)


def pipe(**kwargs):
    return Pipeline([("scale", StandardScaler()), ("net", net(**kwargs))])


def problems(data, estimator):
    with pytest.raises(SpaceError) as caught:
        SearchSpace.load(data).check(estimator)
    return [message.removeprefix("mapping: ") for message in caught.value.problems]


def fits(names, estimator):
    SearchSpace.load({name: [1, 2] for name in names}).check(estimator)


def test_the_shipped_mlp_space_fits_a_net():
    SearchSpace.load(MLP).check(net())


NET_NAMES = [
    "lr",
    "batch_size",
    "max_epochs",
    "l1_lambda",
    "teacher",
    "module__dropout",
    "optimizer__weight_decay",
    "optimizer__lr",
    "optimizer__param_groups",
    "criterion__reduction",
    "iterator_train__shuffle",
    "iterator_valid__batch_size",
    "dataset__length",
    "callbacks__valid_loss",
    "callbacks__print_log__sink",
    "callbacks__stop__patience",
    "callbacks__LRScheduler_1__step_every",
    "callbacks__LRScheduler_2__gamma",
    "callbacks__score__scoring",
    "compile__dynamic",
    "device",
]
CALLBACKS = [
    ("stop", EarlyStopping(patience=3)),
    LRScheduler("StepLR", step_size=2),
    LRScheduler("ExponentialLR", gamma=0.9),
    ("score", EpochScoring("accuracy")),
]


def test_every_kind_of_name_of_a_net():
    fits(NET_NAMES, net(callbacks=CALLBACKS))
    fits([f"net__{name}" for name in NET_NAMES], pipe(callbacks=CALLBACKS))


def test_callbacks_have_the_names_that_skorch_gives_them():
    callbacks = [*CALLBACKS, PrintLog(), EarlyStopping]
    given = net(callbacks=callbacks)
    given.initialize_callbacks()
    names = [name for name, _ in given.callbacks_]
    assert {"PrintLog", "EarlyStopping", "LRScheduler_2", "valid_acc"} <= set(names)
    fits([f"callbacks__{name}" for name in names], net(callbacks=callbacks))


def test_an_initialized_net_is_checked_alike():
    fits(NET_NAMES[:-1], net(callbacks=CALLBACKS).initialize())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lrr", "'lrr' is not a parameter of Net, did you mean 'lr'?"),
        ("dropout", "'dropout' is not a parameter of Net, did you mean 'module__dropout'?"),
        (
            "module_dropout",
            "'module_dropout' is not a parameter of Net, did you mean 'module__dropout'?",
        ),
        (
            "iterator_train_shuffle",
            "'iterator_train_shuffle' is not a parameter of Net, "
            "did you mean 'iterator_train__shuffle'?",
        ),
        (
            "optimiser__lr",
            "'optimiser__lr' is not a parameter of Net, did you mean 'optimizer__lr'?",
        ),
        ("encoder__size", None),
        ("initialized_", None),
        ("_params_to_validate", None),
        (
            "module__hidden_unit",
            "Module takes no 'hidden_unit', did you mean 'module__hidden_units'?",
        ),
        (
            "optimizer__momentu",
            "torch.optim.SGD takes no 'momentu', did you mean 'optimizer__momentum'?",
        ),
        ("optimizer__betas", "torch.optim.SGD takes no 'betas'."),
        (
            "criterion__wieght",
            "torch.nn.NLLLoss takes no 'wieght', did you mean 'criterion__weight'?",
        ),
        ("l1_lambda__x", "float takes no 'x'."),
        (
            "callbacks__stop__patiense",
            "callback 'stop' (EarlyStopping) takes no 'patiense', "
            "did you mean 'callbacks__stop__patience'?",
        ),
        ("callbacks__stopp", "Net has no callback 'stopp', did you mean 'callbacks__stop'?"),
    ],
)
def test_wrong_names_of_a_net(name, message):
    given = net(callbacks=CALLBACKS)
    (told,) = problems({name: [1, 2]}, given)
    (nested,) = problems({f"net__{name}": [1, 2]}, pipe(callbacks=CALLBACKS))
    assert nested.startswith(f"net__{name}: ")
    if message is None:
        assert "is not a parameter of Net" in told
    else:
        told = told.replace(f"{Module.__module__}.", "")
        assert told == f"{name}: {message}"
    if "did you mean" in told:
        assert "did you mean 'net__" in nested


OPTIMIZERS = ["torch.optim.SGD", "torch.optim.Adam", "torch.optim.RMSprop", "torch.optim.AdamW"]


@pytest.mark.parametrize("prefix", ["", "net__"])
def test_each_optimizer_of_the_space_must_take_the_parameter(prefix):
    estimator = pipe() if prefix else net()
    key, name = f"{prefix}optimizer", f"{prefix}optimizer__momentum"
    momentum = {"type": "float", "low": 0, "high": 0.9}
    assert problems({key: OPTIMIZERS, name: momentum}, estimator) == [
        f"{name}: torch.optim.Adam and torch.optim.AdamW take no 'momentum'; "
        f"add when: {{{key}: [torch.optim.SGD, torch.optim.RMSprop]}}."
    ]
    some = {**momentum, "when": {key: ["torch.optim.SGD", "torch.optim.Adam"]}}
    assert problems({key: OPTIMIZERS, name: some}, estimator) == [
        f"{name}: torch.optim.Adam takes no 'momentum'; "
        f"add when: {{{key}: [torch.optim.SGD, torch.optim.RMSprop]}}."
    ]
    right = {**momentum, "when": {key: ["torch.optim.SGD", "torch.optim.RMSprop"]}}
    SearchSpace.load({key: OPTIMIZERS, name: right}).check(estimator)


def test_a_condition_on_a_conditional_parent_counts():
    SearchSpace.load(
        {
            "optimizer": OPTIMIZERS,
            "optimizer__momentum": {
                "type": "categorical",
                "choices": [0, 0.9],
                "when": {"optimizer": "torch.optim.SGD"},
            },
            "optimizer__nesterov": {
                "type": "categorical",
                "choices": [True, False],
                "when": {"optimizer__momentum": 0.9},
            },
        }
    ).check(net())


def test_a_name_that_no_optimizer_takes():
    (told,) = problems({"optimizer": OPTIMIZERS, "optimizer__momentun": [1]}, net())
    assert told.endswith("take no 'momentun', did you mean 'optimizer__momentum'?")


def test_text_where_a_class_is_wanted():
    data = {"optimizer": ["Adam", torch.optim.SGD], "optimizer__momentum": [0.9], "lr": [1]}
    assert problems(data, net()) == [
        "optimizer: 'Adam' is text, where a class is wanted; "
        "write its dotted path, such as torch.optim.Adam."
    ]


def test_modules_that_are_instances_functions_or_take_anything():
    names = ["module__dropout", "module__n_layers"]
    fits(names, NeuralNetClassifier(Module()))
    fits(names, NeuralNetClassifier(lambda dropout, n_layers: Module()))
    fits([*names, "module__whatever"], NeuralNetClassifier(AnyModule))
    assert problems({"module__depth": [1]}, NeuralNetClassifier(Module()))
    assert problems({"module__depth": [1]}, NeuralNetClassifier(lambda dropout: Module()))


def test_components_that_a_net_was_given_parameters_for():
    fits(["encoder__size"], net(encoder__size=3))
    fits(["teacher__dropout"], net(teacher=Module))
    assert problems({"teacher__size": [1]}, net(teacher=Module))


def test_scikit_learn_estimators():
    fits(["C", "tol"], LogisticRegression())
    fits(["steps", "scale__with_mean", "net"], pipe())
    fits(["regressor__alpha"], TransformedTargetRegressor(Ridge()))
    fits(["a__C", "b__net__module__dropout"], VotingClassifier([("a", SVC()), ("b", pipe())]))
    assert problems({"c": [1], "C": [1], "Tol": [1]}, LogisticRegression())[0].startswith(
        "c: 'c' is not a parameter of LogisticRegression; it has C, "
    )
    assert problems({"lr": [1], "nett__lr": [1], "scale__mean": [1]}, pipe()) == [
        "lr: 'lr' is not a parameter of Pipeline, did you mean 'net__lr'?",
        "nett__lr: 'nett__lr' is not a parameter of Pipeline, did you mean 'net__lr'?",
        "scale__mean: 'mean' is not a parameter of StandardScaler, "
        "did you mean 'scale__with_mean'?",
    ]
    assert problems({"tol__x": [1]}, LogisticRegression()) == ["tol__x: float takes no 'x'."]


def test_a_step_that_the_space_itself_chooses():
    base = Pipeline([("scale", StandardScaler()), ("clf", SVC())])
    data = {
        "scale": [StandardScaler(), "passthrough"],
        "scale__with_mean": [True, False],
        "clf": [SVC(), RandomForestClassifier()],
        "clf__C": [1, 10],
        "clf__max_depth": {
            "type": "int",
            "low": 1,
            "high": 5,
            "when": {"clf": "RandomForestClassifier()"},
        },
    }
    assert problems(data, base) == [
        "scale__with_mean: passthrough takes no 'with_mean'; "
        "add when: {scale: [StandardScaler()]}.",
        "clf__C: RandomForestClassifier() takes no 'C'; add when: {clf: [SVC()]}.",
    ]


@pytest.mark.parametrize("estimator", [LogisticRegression, 3, SliceDataset])
def test_what_is_no_estimator(estimator):
    (told,) = problems({"C": [1]}, estimator)
    assert "is no estimator: it must have get_params." in told


def test_the_check_leaves_the_estimator_alone():
    estimator = net(callbacks=CALLBACKS)
    before = {key: id(value) for key, value in vars(estimator).items()}
    fits(NET_NAMES, estimator)
    assert {key: id(value) for key, value in vars(estimator).items()} == before


def test_a_net_takes_what_the_check_lets_pass():
    space = SearchSpace.load(MLP)
    params = space.sample(lambda name, d: d.low if hasattr(d, "low") else d.choices[0])
    given = net().set_params(**space.resolve(params)).initialize()
    assert isinstance(given.optimizer_, torch.optim.SGD)

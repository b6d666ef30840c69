"""Adapters in cross-validation, searches, refits, kept files and exported models."""

import copy
import json
import os
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from _lora_models import LoRAClassifier, kind, mlp
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold, cross_val_score
from torch import nn

import hpo
from hpo import HPOSearchCV, SearchSpace, Study, run_study
from hpo.data import StudyData
from hpo.study.model_files import write_model
from hpo.training.objective import Objective
from hpo.trial import Trial

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
]


def net_of(model, **kwargs):
    params = {
        "criterion": nn.CrossEntropyLoss,
        "optimizer": torch.optim.Adam,
        "lr": 0.01,
        "max_epochs": 2,
        "batch_size": 8,
        "train_split": None,
        "verbose": 0,
    }
    return LoRAClassifier(module__model=model, **{**params, **kwargs})


@pytest.fixture(params=["module", "function", "folder"])
def given(request, tmp_path):
    """Return a model in one of the ways to give it, with its data."""
    of = kind("vit" if request.param == "folder" else "mlp")
    if request.param == "folder":
        of.model.save_pretrained(tmp_path / "base")
        return str(tmp_path / "base"), of
    return (of.model, of) if request.param == "module" else (mlp, of)


def test_a_search_with_names_as_people_type_them(given, tmp_path):
    model, of = given
    search = HPOSearchCV(
        net_of(model),
        {"module__lora_r": [1, 4], "module__lora_alpha": [4, 16], "lr": [0.001, 0.01]},
        n_trials=3,
        cv=StratifiedKFold(2),
        random_state=0,
    ).fit(of.X, of.y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    best = search.best_estimator_
    assert best.lora_config().r == search.best_params_["module__lora_r"]
    assert best.lora_config().lora_alpha == search.best_params_["module__lora_alpha"]
    assert best.history[-1]["trainable_parameters"] == best.n_trained()
    twin = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(twin.predict_proba(of.X), search.predict_proba(of.X))


def test_folds_and_clones_are_independent(given):
    model, of = given
    net = net_of(model)
    torch.manual_seed(0)
    first = cross_val_score(clone(net), of.X, of.y, cv=StratifiedKFold(2), scoring="neg_log_loss")
    torch.manual_seed(0)
    assert (
        cross_val_score(net, of.X, of.y, cv=StratifiedKFold(2), scoring="neg_log_loss") == first
    ).all()
    deep = copy.deepcopy(net.fit(of.X, of.y))
    np.testing.assert_array_equal(deep.predict_proba(of.X), net.predict_proba(of.X))
    deep.partial_fit(of.X, of.y)
    assert not np.array_equal(deep.predict_proba(of.X), net.predict_proba(of.X))


def test_a_trial_goes_on_from_its_state(given):
    model, of = given
    options = {"cv": StratifiedKFold(2), "epochs": 3, "scoring": "neg_log_loss"}
    config = {"module__lora_dropout": 0.2, "module__init_lora_weights": "pissa", "module__r": 3}
    whole = Objective(net_of(model, **config), of.X, of.y, **options)
    trial = Trial(0, {}, 0)
    expected = [report.fold_values for report in whole.run(trial)]
    run = whole.run(trial)
    next(run)
    state = run.state()
    run.close()
    assert [report.fold_values for report in whole.resume(trial, state)] == expected[1:]


def test_a_study_keeps_the_adapter(given, tmp_path):
    from peft import PeftModel

    model, of = given
    result = run_study(
        Study(
            name="adapters",
            estimator=net_of(model),
            data=StudyData(X=of.X[:15], y=of.y[:15], X_test=of.X[15:], y_test=of.y[15:]),
            search_space={"module__r": [1, 3], "module__bias": ["none", "all"]},
            cv=StratifiedKFold(2),
            costs=["trainable_parameters"],
            n_trials=2,
            storage=None,
            tracker="null",
        )
    )
    assert result.recommendation.startswith("LoraConfig(r=")
    net = result.estimator
    net.save_artifacts(tmp_path / "kept")
    base = copy.deepcopy(of.model)
    loaded = PeftModel.from_pretrained(base, tmp_path / "kept" / "adapter").eval()
    with torch.no_grad():
        output = loaded(torch.as_tensor(of.X))
    logits = output.logits if hasattr(output, "logits") else output
    torch.testing.assert_close(logits, net.forward(of.X), rtol=0, atol=1e-5)


LOAD = """
import json, pickle, sys
net, X = pickle.load(open(sys.argv[1], "rb"))
print(json.dumps(net.predict_proba(X).tolist()))
"""


def test_another_process_loads_the_pickle(tmp_path):
    """A module goes along; nothing else of it is in that process."""
    of = kind("vit")
    net = net_of(of.model, module__use_dora=True).fit(of.X, of.y)
    (tmp_path / "net.pkl").write_bytes(pickle.dumps((net, of.X)))
    roots = [str(Path(hpo.__file__).parents[1]), str(Path(__file__).parents[1])]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD, str(tmp_path / "net.pkl")],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(roots), "HF_HUB_OFFLINE": "1"},
    )
    probabilities = json.loads(done.stdout)
    np.testing.assert_allclose(probabilities, net.predict_proba(of.X), rtol=1e-4, atol=1e-6)


def test_an_exported_model_holds_the_adapter(tmp_path):
    of = kind("mlp")
    net = net_of(mlp).fit(of.X, of.y)
    files = write_model(net, of.X[:5], 3, tmp_path)
    assert {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"} <= set(files)
    facts = json.loads(files["model.json"].read_text())
    assert any("[lora]==" in line for line in facts["requirements"])


@pytest.mark.parametrize(
    ("space", "name", "ranks"),
    [("lora_classifier", "sequences", (8, 16)), ("lora_vision", "vit", (16, 16))],
)
def test_a_space_that_ships_begins_with_the_tutorials_setting(repository, space, name, ranks):
    of = kind(name)
    path = repository / "search_spaces" / f"{space}.yaml"
    (first,) = SearchSpace.load(path).defaults
    assert (first["module__r"], first["module__lora_alpha"]) == ranks
    assert set(first) == set(SearchSpace.load(path).distributions)
    result = run_study(
        Study(
            name=space,
            estimator=net_of(of.model, max_epochs=1),
            data=StudyData(X=of.X, y=of.y),
            search_space=path,
            cv=StratifiedKFold(2),
            n_trials=3,
            storage=None,
            tracker="null",
        )
    )
    assert result.n_complete == 3
    assert result.records[0].trial.params == first


def test_a_function_with_bound_arguments_is_one_base():
    of = kind("mlp")
    make = partial(nn.Sequential, nn.Linear(8, 4), nn.Linear(4, 3))
    nets = [clone(net_of(make)).fit(of.X, of.y) for _ in range(2)]
    assert nets[0].module_._base is nets[1].module_._base

"""The winner as a model of MLflow: built from files, loaded by processes that know nothing else."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.tracking import MlflowClient
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits, make_regression
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

import hpo
from hpo import Study, StudyData, load_result, run_study
from hpo.cli._export import export_model
from hpo.exceptions import PluginError, StorageError
from hpo.modules import MLP
from hpo.nets import CausalLMNet, RegularizedClassifier, RegularizedRegressor
from hpo.storage.study_facts import model_files
from hpo.study.model_files import write_model
from hpo.trackers.mlflow import MlflowTracker, build_model

pytestmark = pytest.mark.slow

LOAD = """
import json, sys
import mlflow, numpy as np, pandas as pd

out = {}
for name, path in json.loads(sys.argv[1]).items():
    model = mlflow.pyfunc.load_model(path)
    example = model.input_example
    calls = {"example": example}
    if name in {"digits", "regression"}:
        calls |= {"float64": np.asarray(example, "float64"), "float32": np.float32(example)}
        names = [f"p{i}" for i in range(len(example.T))]
        calls["frame"] = pd.DataFrame(np.asarray(example), columns=names)
    if name == "table":
        calls["categories"] = example.astype({"size": object})
    if name == "images":
        calls["tensor"] = np.asarray(example)
    results = {call: np.asarray(model.predict(rows)).tolist() for call, rows in calls.items()}
    if name in {"digits", "table"}:
        params = {"predict_method": "predict_proba"}
        results["proba"] = model.predict(example, params=params).tolist()
        results["estimator"] = type(mlflow.sklearn.load_model(path)).__name__
    results["schema"] = model.metadata.get_input_schema().to_dict()
    out[name] = results
out["hpo_of_the_study"] = "study_of_the_model" in sys.modules
print(json.dumps(out))
"""

OWN = """
from torch import nn
from helper_of_the_model import hidden
from hpo.nets import RegularizedClassifier

class Own(RegularizedClassifier):
    pass

class Module(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, hidden()), nn.ReLU(), nn.Linear(4, 2))

    def forward(self, X):
        return self.layers(X)
"""


def fit(estimator, X, y):
    torch.manual_seed(0)
    return estimator.fit(X, y)


def digits_net():
    X, y = load_digits(return_X_y=True)
    net = RegularizedClassifier(
        MLP, module__n_features=64, module__n_classes=10, max_epochs=2, train_split=None, verbose=0
    )
    X = (X / 16).astype("float32")
    return fit(net, X, y), X


def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 10, 60),
            "children": rng.integers(0, 4, 60),
            "city": rng.choice(["Oslo", "Rome"], 60),
            "size": pd.Categorical(rng.choice(["l", "m", "s"], 60)),
            "weight": rng.normal(size=60).astype("float32"),
        }
    )
    return frame, np.where(frame["age"] > 40, "old", "young")


@pytest.fixture(scope="module")
def own_module(tmp_path_factory):
    """Return the study file's module, which another one beside it helps, as no package has them."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "study_of_the_model.py").write_text(OWN)
    (folder / "helper_of_the_model.py").write_text("def hidden():\n    return 4\n")
    sys.path.insert(0, str(folder))
    import study_of_the_model

    yield study_of_the_model
    sys.path.remove(str(folder))


def pipeline(own_module):
    frame, y = table()
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["age", "children", "weight"]),
            ("words", OneHotEncoder(sparse_output=False), ["city", "size"]),
        ]
    )
    net = own_module.Own(own_module.Module, max_epochs=2, train_split=None, verbose=0)
    return fit(Pipeline([("columns", columns), ("net", net)]), frame, y), frame


def regression():
    X, y = make_regression(60, 5, random_state=0)
    net = RegularizedRegressor(
        nn.Linear,
        module__in_features=5,
        module__out_features=1,
        max_epochs=2,
        train_split=None,
        verbose=0,
    )
    X = X.astype("float32")
    return fit(net, X, y.astype("float32")), X


def images():
    X = np.random.default_rng(0).normal(size=(20, 1, 4, 4)).astype("float32")
    net = RegularizedClassifier(
        nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), max_epochs=1, train_split=None, verbose=0
    )
    return fit(net, X, np.arange(20) % 2), X


def language_model(folder):
    from transformers import LlamaConfig, LlamaForCausalLM

    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=16,
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=8,
        )
    ).save_pretrained(folder)
    X = np.random.default_rng(0).integers(0, 16, (12, 8))
    net = CausalLMNet(module__model=folder, module__r=2, max_epochs=1, train_split=None, verbose=0)
    return fit(net, X, X), X


@pytest.fixture(scope="module")
def built(tmp_path_factory, own_module):
    """Return the folders of the models, their estimators and rows, by name."""
    home = tmp_path_factory.mktemp("models")
    made = {
        "digits": digits_net(),
        "table": pipeline(own_module),
        "regression": regression(),
        "images": images(),
    }
    try:
        metadata.version("peft")
        made["language"] = language_model(home / "base")
    except metadata.PackageNotFoundError:  # the extra `lora` is not installed
        pass
    for name, (estimator, X) in made.items():
        (home / name).mkdir()
        files = write_model(estimator, X[:5], 7, home / name)
        build_model(model_files(files), home / name / "model")
    return home, made


@pytest.fixture(scope="module")
def loaded(built, tmp_path_factory):
    """Return what another process has predicted with the models."""
    home, made = built
    paths = {name: str(home / name / "model") for name in made}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD, json.dumps(paths)],
        capture_output=True,
        check=False,
        cwd=tmp_path_factory.mktemp("elsewhere"),
        env={
            **os.environ,
            "PYTHONPATH": str(Path(hpo.__file__).parents[1]),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "HF_HUB_OFFLINE": "1",
        },
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout.decode().splitlines()[-1])


@pytest.mark.parametrize("name", ["digits", "regression"])
def test_a_net_takes_frames_and_all_floats(built, loaded, name):
    estimator, X = built[1][name]
    expected = estimator.predict(X[:5]).tolist()
    for call in ("example", "float64", "float32", "frame"):
        np.testing.assert_allclose(loaded[name][call], expected, rtol=1e-6)
    assert {column["type"] for column in loaded[name]["schema"]} == {"double"}


def test_a_pipeline_stays_whole_and_brings_the_modules_of_its_study(built, loaded):
    estimator, frame = built[1]["table"]
    expected = estimator.predict(frame[:5]).tolist()
    assert loaded["table"]["example"] == loaded["table"]["categories"] == expected
    assert {column["name"]: column["type"] for column in loaded["table"]["schema"]} == {
        "age": "double",
        "children": "long",
        "city": "string",
        "size": "string",
        "weight": "double",
    }
    assert not loaded["hpo_of_the_study"]
    assert loaded["table"]["estimator"] == "Pipeline"


def test_another_method_predicts(built, loaded):
    for name in ("digits", "table"):
        estimator, X = built[1][name]
        expected = estimator.predict_proba(X[:5])
        np.testing.assert_allclose(loaded[name]["proba"], expected, rtol=1e-5)


def test_images_are_a_tensor(built, loaded):
    estimator, X = built[1]["images"]
    assert loaded["images"]["tensor"] == estimator.predict(X[:5]).tolist()
    (tensor,) = loaded["images"]["schema"]
    assert tensor["tensor-spec"] == {"dtype": "float32", "shape": [-1, 1, 4, 4]}


def test_an_adapter_lies_in_the_model(built, loaded):
    home, made = built
    if "language" not in made:
        pytest.skip("the extra `lora` is not installed")
    estimator, X = made["language"]
    np.testing.assert_allclose(
        loaded["language"]["example"], estimator.predict(X[:5]), rtol=1e-4, atol=1e-6
    )
    assert (home / "language/model/data/hpo/adapter/adapter_config.json").is_file()
    requirements = (home / "language/model/requirements.txt").read_text()
    assert "[lora]==" in requirements


def test_its_requirements_are_what_it_needs(built):
    home, _ = built
    lines = (home / "regression/model/requirements.txt").read_text().split()
    versions = dict(line.split("==") for line in lines)
    assert {"torch", "skorch", "numpy", "mlflow", "cloudpickle"} <= set(versions)
    assert not {"ray", "optuna", "transformers"} & set(versions)
    assert not any("+" in version for version in versions.values())


def test_an_estimator_that_tells_nothing_of_its_rows_is_a_model_too(tmp_path):
    X, y = load_digits(return_X_y=True)
    estimator = SGDClassifier().fit(X[:100], y[:100])
    files = model_files(write_model(estimator, object(), 0, tmp_path))
    build_model(files, tmp_path / "model")
    assert (tmp_path / "model" / "MLmodel").is_file()


def make_study(store, tmp_path, **changes):
    X, y = load_digits(return_X_y=True)
    fields = {
        "name": "modelled",
        "estimator": SGDClassifier(random_state=0),
        "data": StudyData(X=X[:300], y=y[:300]),
        "search_space": {"alpha": [1e-4, 1e-2, 1.0]},
        "cv": 2,
        "n_trials": 2,
        "storage": f"journal:///{tmp_path}/hpo.journal",
        "tracking_uri": store,
        "tracker": "mlflow:register=digits",
    }
    return Study(**{**fields, **changes})


def test_a_study_logs_and_registers_its_winner_once(store, tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    study = make_study(store, tmp_path)
    result = run_study(study)
    again = run_study(study, reuse_refit=True)
    assert again.refitted is None
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("modelled")
    (model,) = client.search_logged_models([experiment.experiment_id])
    (parent,) = client.search_runs([experiment.experiment_id], "tags.`hpo.kind` = 'study'")
    assert (model.name, model.source_run_id) == ("winner", parent.info.run_id)
    assert model.params == {"alpha": str(result.best_params["alpha"])}
    assert model.tags["best_trial"] == str(result.winner.number)
    scores = {metric.key: metric.value for metric in model.metrics}
    assert len(scores) == len(model.metrics)  # each once, after two runs
    assert scores["best_score"] == result.best_score
    assert [output.model_id for output in parent.outputs.model_outputs] == [model.model_id]
    (version,) = client.search_model_versions("name = 'digits'")
    assert (version.source, version.run_id) == (f"models:/{model.model_id}", parent.info.run_id)

    stored = load_result("modelled", study.storage)
    X = study.data.X
    assert (stored.estimator.predict(X) == result.estimator.predict(X)).all()
    files = Path(f"{tmp_path}/hpo.journal.files").rglob("model.pkl")
    (pickled,) = files
    pickled.chmod(0o666)
    with pytest.raises(StorageError, match="another user"):
        _ = load_result("modelled", study.storage).estimator
    pickled.chmod(0o600)
    pickled.write_bytes(pickled.read_bytes() + b".")
    with pytest.raises(StorageError, match="is not as it was written"):
        _ = load_result("modelled", study.storage).estimator

    # Another winner is another model, and another version.
    more = run_study(study.replace(n_trials=3, enqueue=[{"alpha": 1e-4}]))
    assert len(more.records) == 3
    stored = load_result("modelled", study.storage)
    assert (stored.estimator.predict(X) == more.estimator.predict(X)).all()
    changed = more.winner.number != result.winner.number
    assert len(client.search_model_versions("name = 'digits'")) == 1 + changed


def test_a_name_that_no_registry_takes_is_refused():
    with pytest.raises(PluginError, match="without slashes and colons"):
        MlflowTracker("sqlite:///x.db", register="a/b")


def test_the_winner_is_exported_without_a_server(tmp_path, monkeypatch, store, capsys):
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "environ", dict(os.environ))  # the command sets what MLflow reads
    study = make_study(store, tmp_path, n_trials=1, refit=False)
    run_study(study)
    with pytest.raises(StorageError, match="has no refitted winner"):
        export_model("modelled", tmp_path / "model", study.storage)
    run_study(study.replace(refit=True))
    export_model("modelled", tmp_path / "new" / "model", study.storage)
    assert "mlflow.pyfunc.load_model(" in capsys.readouterr().out
    assert (tmp_path / "new" / "model" / "MLmodel").is_file()
    export_model("modelled", tmp_path / "other", study.storage, as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "study": "modelled",
        "folder": str(tmp_path / "other"),
    }
    with pytest.raises(StorageError, match="new or empty"):
        export_model("modelled", tmp_path / "new" / "model", study.storage)

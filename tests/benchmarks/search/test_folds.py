"""Fold tables: nets trained at once are torch's nets, and searches on a table count right."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

HERE = Path(__file__).parent
PARAMS = {"lr": 0.05, "optimizer__weight_decay": 0.01, "module__dropout": 0.0}


@pytest.fixture
def load(monkeypatch):
    """Return a function that imports a module of the benchmark as running it does."""
    monkeypatch.syspath_prepend(HERE)
    yield importlib.import_module
    for path in HERE.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def table(load, tmp_path, monkeypatch):
    """Return a made-up table of 40 settings, 10 epochs and 4 folds, in the folder of tables."""
    rng = np.random.default_rng(0)
    rates = 10 ** rng.uniform(-4, -1, 40)
    level = 0.9 - 0.1 * np.abs(np.log10(rates) + 2)
    curves = level[:, None, None] * np.linspace(0.7, 1, 10)[:, None] + rng.normal(
        0, 0.01, (40, 10, 4)
    )
    params = [
        json.dumps({"lr": rate, "size": int(8 * (1 + i % 2))}) for i, rate in enumerate(rates)
    ]
    tables = tmp_path / "tables"
    tables.mkdir()
    np.savez(tables / "made_up.npz", curves=curves, fresh=curves + 0.01, params=np.array(params))
    monkeypatch.setenv("HPO_FOLD_TABLES", str(tables))
    monkeypatch.setenv("HPO_DATA", str(tmp_path))
    (found,) = load("folds").fold_tables()
    return found


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "RMSprop"])
def test_nets_trained_at_once_take_the_steps_of_torch(load, optimizer):
    nets = load("batched_nets")
    torch.manual_seed(0)
    X, y = torch.randn(2, 30, 5), torch.randint(3, (2, 30))
    params = {**PARAMS, "module__hidden_units": 4, "module__n_layers": 2}
    net = nets.Perceptron((5,), 3, params)
    weights = nets.start(net.layers, 2)
    own = [_torch_perceptron(weights, k) for k in range(2)]
    rates, decay = torch.tensor([0.05, 0.01])[:, None, None], torch.full((2, 1, 1), 0.01)
    many = nets.Optimizer(optimizer, weights, rates, decay)
    options = {"momentum": 0.9} if optimizer == "SGD" else {}
    ones = [
        getattr(torch.optim, optimizer)(
            module.parameters(), lr=float(rates[k]), weight_decay=0.01, **options
        )
        for k, module in enumerate(own)
    ]
    for _ in range(5):
        loss = nets.losses(net(weights, X, None), y).mean(1).sum()
        many.step(torch.autograd.grad(loss, list(weights.values())))
        for k, (module, one) in enumerate(zip(own, ones, strict=True)):
            one.zero_grad()
            nn.functional.cross_entropy(module(X[k]), y[k]).backward()
            one.step()
    for k, module in enumerate(own):
        assert torch.allclose(module(X[k]), net(weights, X, None)[k], atol=1e-4)


def _torch_perceptron(weights, k):
    layers = []
    for i in range(3):
        weight, bias = weights[f"{i}.w"][k], weights[f"{i}.b"][k, 0]
        layer = nn.Linear(*weight.shape)
        layer.load_state_dict({"weight": weight.detach().T.clone(), "bias": bias.detach().clone()})
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_convolutions_are_those_of_torch(load):
    nets, tables = load("batched_nets"), load("fold_tables")
    torch.manual_seed(0)
    images = torch.rand(6, 8, 8)
    net = nets.Convolutional((64, 9), 3, {"module__channels": 2, "module__n_layers": 2})
    weights = nets.start(net.layers, 1)
    patches = torch.from_numpy(tables.patches(images.numpy()))[None]
    first = weights["0.w"][0].T.view(2, 1, 3, 3)
    x = nn.functional.conv2d(images[:, None], first, weights["0.b"][0, 0], padding=1).relu()
    x = nn.functional.max_pool2d(x, 2)
    second = weights["1.w"][0].T.view(4, 3, 3, 2).permute(0, 3, 1, 2)
    x = nn.functional.conv2d(x, second, weights["1.b"][0, 0], padding=1).relu()
    x = nn.functional.max_pool2d(x, 2).permute(0, 2, 3, 1).flatten(1)
    expected = x @ weights["out.w"][0] + weights["out.b"][0]
    assert torch.allclose(net(weights, patches, None)[0], expected, atol=1e-5)


def test_a_table_is_trained_and_read(load, tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_DATA", str(tmp_path))
    load("fold_tables").main(["--to", str(tmp_path), "--settings", "4", "--epochs", "2", "cancer"])
    found = load("folds").FoldTable(tmp_path / "cancer.npz")
    assert found.curves.shape == found.fresh.shape == (4, 2, 5)
    assert ((found.curves >= 0) & (found.curves <= 1)).all()
    assert [found.nearest(params) for params in found.params] == [0, 1, 2, 3]
    assert found.nearest(found.params[2], without=[2]) != 2


def test_a_race_pays_for_the_folds_it_trains(load, table):
    race, rules = load("race"), load("race_rules")
    everything = race.Search(table, rules.Rule(pruner="none"), "table", 1, 8).run()
    assert len(everything.complete) == everything.n_trials == 8
    raced = race.Search(table, rules.Rule("race", pruner="none"), "table", 1, 8).run()
    assert len(raced.complete) < 8 < raced.n_trials
    assert raced.complete[0] == everything.complete[0]
    ended = 40 * len(raced.complete) + 10 * (raced.n_trials - len(raced.complete))
    assert ended <= 8 * 40 < ended + 40


def test_the_rules_are_replayed(load, table, capsys):
    told = load("race").main(["--seeds", "2", "--units", "4", "--sampler", "tpe"])
    assert told.count("\n") == 1 + len(load("race_rules").RULES)
    assert told in capsys.readouterr().out


def test_the_product_races_on_a_table(load, table, tmp_path):
    run = load("run")
    options = ["--results", str(tmp_path / "r.jsonl"), "--units", "4", "--tasks", "folds-"]
    arms = ["-a", "optuna_tpe|nop", "-a", "optuna_tpe|optuna_median", "-a", "tpe|median|1|0|race"]
    load("curves").tasks = lambda: []
    run.curve_tasks = lambda: []
    told = run.main([*options, "--seeds", "1", *arms])
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    plain, _, raced = lines[1:]
    assert plain["n_trials"] == plain["n_complete"] == 4
    assert raced["n_complete"] < raced["n_trials"]
    assert raced["n_trials"] > 4
    assert raced["fresh"][-1] == pytest.approx(raced["chosen"][-1] + 0.01, abs=0.01)
    assert "| tpe + median, race | folds-made_up |" in told


@pytest.mark.parametrize("folds", ["race", "all"])
def test_the_replay_decides_as_the_product(load, table, folds):
    product, race, rules = load("product"), load("race"), load("race_rules")
    arm = load("replay").Arm("random", "median", folds=folds)
    found = product.search(table, arm, 0, 6)
    tried = list(product._POOLS[table.name]._known.values())
    search = race.Search(
        table, rules.Rule("race" if folds == "race" else "lockstep", by="best"), "table", 0, 6
    )
    search._settings._order = iter(tried)
    search.run()
    chosen = [None if np.isnan(value) else value for value in search.by_unit(table.values)]
    assert found["chosen"] == pytest.approx(chosen)
    assert found["n_complete"] == len(search.complete) < found["n_trials"]
    assert search.n_trials in {found["n_trials"], found["n_trials"] - 1}  # the last was cut off

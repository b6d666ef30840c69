"""Nets for tables: what each architecture computes, and codes that were never seen."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.pipeline import Pipeline
from skorch.callbacks import InputShapeSetter

from hpo.data import TableEncoder
from hpo.modules import TabularNet, table_sizes
from hpo.nets import RegularizedClassifier

ARCHITECTURES = ["embedding_mlp", "wide_deep", "deep_cross", "deep_cross_v2"]
SIZES = (3, 5, 4)


def net(architecture="embedding_mlp", **options):
    torch.manual_seed(0)
    options = {"hidden_units": 8, "embedding_size": 2, **options}
    return TabularNet(SIZES, 6, architecture=architecture, **options).eval()


def batch(n=7):
    generator = torch.Generator().manual_seed(1)
    codes = [torch.randint(1, size, (n,), generator=generator) for size in SIZES[1:]]
    return torch.randn(n, SIZES[0], generator=generator), torch.stack(codes, 1)


def inputs_of(model, numbers, codes):
    embedded = [embed(column) for embed, column in zip(model.embeddings, codes.T, strict=True)]
    return torch.cat([numbers, *embedded], 1)


def test_sizes_are_those_of_the_encoded_table():
    X = pd.DataFrame({"x": [1.0, 2, 3], "c": ["a", "b", None], "d": ["u", "u", "u"]})
    assert table_sizes(TableEncoder().fit_transform(X)) == (1, 3, 2)


def test_the_wide_part_is_a_linear_model_of_values_and_pairs():
    model = net("wide_deep")
    numbers, codes = batch()
    deep = model.deep(inputs_of(model, numbers, codes))
    assert torch.equal(model(numbers, codes), deep), "it starts at zero"
    weights = dict(model.wide.named_parameters())
    with torch.no_grad():
        for weight in weights.values():
            weight.normal_()
    wide = numbers @ weights["linear"].T
    one_hot = torch.nn.functional.one_hot
    for i, size in enumerate(SIZES[1:]):
        wide = wide + one_hot(codes[:, i], size).float() @ weights[f"weights.{i}.weight"]
    pairs = one_hot(codes[:, 0] * SIZES[2] + codes[:, 1], SIZES[1] * SIZES[2]).float()
    wide = wide + pairs @ weights["weights.2.weight"]
    torch.testing.assert_close(model(numbers, codes), deep + wide)


@pytest.mark.parametrize("architecture", ["deep_cross", "deep_cross_v2"])
def test_cross_layers_are_those_of_the_papers(architecture):
    model = net(architecture, n_cross_layers=2)
    numbers, codes = batch()
    x0 = x = inputs_of(model, numbers, codes)
    for layer in model.cross.layers:
        weight, bias = layer.linear.weight, layer.linear.bias
        if architecture == "deep_cross":
            assert weight.shape == (1, x0.shape[1])
            x = torch.stack([a * (b @ weight[0]) for a, b in zip(x0, x, strict=True)]) + x
            x = x + layer.bias
        else:
            x = torch.stack([a * (weight @ b + bias) for a, b in zip(x0, x, strict=True)]) + x
    expected = model.deep(x0) + model.cross.head(x)
    torch.testing.assert_close(model(numbers, codes), expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_category_never_seen_adds_nothing_and_learns_nothing(architecture):
    model = net(architecture)
    numbers, codes = batch()
    unknown, beyond = codes.clone(), codes.clone()
    unknown[:, 0], beyond[:, 0] = 0, 99
    assert torch.equal(model(numbers, unknown), model(numbers, beyond))
    assert not torch.equal(model(numbers, unknown), model(numbers, codes))
    model(numbers, unknown).sum().backward()
    assert not model.embeddings[0].weight.grad.any()
    assert model.embeddings[1].weight.grad.any()
    assert not model.embeddings[0].weight[0].any()
    if model.wide is not None:
        assert not model.wide.weights[0].weight.grad.any()
        assert not model.wide.weights[2].weight.grad.any(), "nor does a pair with it"


def test_numbers_enter_with_their_sines_and_cosines_at_learned_frequencies():
    plain, periodic = net(), net(n_frequencies=3)
    numbers, codes = batch()
    assert (
        plain.deep.layers[0].in_features + 2 * 3 * SIZES[0] == periodic.deep.layers[0].in_features
    )
    waves = torch.einsum("ni,ik->nik", numbers, periodic.frequencies) * 2 * np.pi
    inputs = [numbers, torch.sin(waves).flatten(1), torch.cos(waves).flatten(1)]
    inputs = torch.cat([*inputs, inputs_of(periodic, numbers, codes)[:, SIZES[0] :]], 1)
    torch.testing.assert_close(periodic(numbers, codes), periodic.deep(inputs))
    periodic(numbers, codes).sum().backward()
    assert periodic.frequencies.grad.abs().min() > 0


@pytest.mark.parametrize("sizes", [(3,), (0, 4)])
def test_tables_of_one_kind_of_column(sizes):
    model = TabularNet(sizes, 2, architecture="wide_deep")
    codes = torch.ones(5, len(sizes) - 1, dtype=torch.int64)
    assert model(torch.randn(5, sizes[0]), codes).shape == (5, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "wide_depe"}, "did you mean 'wide_deep'"),
        ({"embedding_size": 0}, "embedding_size of TabularNet must be at least 1. Got 0"),
        ({"n_cross_layers": 0}, "n_cross_layers of TabularNet must be at least 1"),
        ({"n_frequencies": -1}, "n_frequencies of TabularNet must be at least 0"),
        ({"frequency_scale": 0}, "frequency_scale of TabularNet must be above 0"),
        ({"sizes": (0,)}, "needs at least one column"),
    ],
)
def test_what_is_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TabularNet(**{"sizes": SIZES, **options})


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_in_a_pipeline_it_learns_and_meets_new_categories(architecture):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": 1000 * rng.normal(size=300), "c": rng.choice(list("abcd"), 300)})
    y = ((X["x"] > 0) ^ X["c"].isin(["a", "b"])).to_numpy(dtype=np.int64)
    net = RegularizedClassifier(
        TabularNet,
        module__architecture=architecture,
        module__hidden_units=32,
        callbacks=[("sizes", InputShapeSetter(param_name="sizes", input_dim_fn=table_sizes))],
        optimizer=torch.optim.Adam,
        lr=0.02,
        max_epochs=10,
        batch_size=32,
        train_split=None,
        verbose=0,
    )
    torch.manual_seed(0)
    model = Pipeline([("table", TableEncoder()), ("net", net)]).fit(X, y)
    assert model.score(X, y) > 0.95
    assert tuple(model["net"].module_.n_codes) == (5,)
    new = pd.DataFrame({"x": [1.0, -1.0], "c": ["never", None]})
    assert np.isfinite(model.predict_proba(new)).all()
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_last_linear_layer_that_runs_is_the_head_of_the_perceptron(architecture):
    model, ran = net(architecture), []
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.register_forward_pre_hook(lambda layer, inputs: ran.append(layer))
    model(*batch())
    assert ran[-1] is model.deep.layers[-1]

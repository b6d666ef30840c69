import math
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from torch import nn

from hpo import HPOSearchCV
from hpo.modules import ConvEncoder
from hpo.nets import ContrastiveClassifier, nt_xent
from hpo.nets._views import random_views
from hpo.training.adapters import NetStepper

N_CLASSES = 3


class OwnEncoder(nn.Module):
    """An encoder that is none of the package's."""

    def __init__(self, n_features=6):
        super().__init__()
        self.n_features = n_features
        self.layer = nn.Linear(3 * 8 * 8, n_features)

    def forward(self, X):
        return torch.tanh(self.layer(X.flatten(1)))


@pytest.fixture
def images():
    """Images of noise, each class with a bright stripe of its own, in no order."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(90) % N_CLASSES)
    X = rng.uniform(0, 0.4, size=(90, 3, 8, 8)).astype(np.float32)
    for row, label in enumerate(y):
        X[row, :, 2 * label + 1] += 0.6
    return X, y


def make(module=ConvEncoder, **parameters):
    torch.manual_seed(0)
    defaults = dict(n_classes=N_CLASSES, n_labels=12, max_epochs=2, batch_size=30, verbose=0)
    if module is ConvEncoder:
        defaults |= dict(module__width=8, module__n_stages=2)
    return ContrastiveClassifier(module, **{**defaults, **parameters})


def test_the_loss_is_the_papers_equation():
    torch.manual_seed(0)
    z, temperature, n = torch.randn(8, 5), 0.3, 4
    cosines = [[torch.cosine_similarity(a, b, dim=0) for b in z] for a in z]
    losses = [
        -torch.log(
            torch.exp(cosines[i][(i + n) % 8] / temperature)
            / sum(torch.exp(cosines[i][k] / temperature) for k in range(8) if k != i)
        )
        for i in range(8)
    ]
    assert torch.allclose(nt_xent(z, temperature), torch.stack(losses).mean())


def test_the_loss_of_what_looks_alike_and_of_what_is_told_apart():
    assert math.isclose(nt_xent(torch.ones(6, 4), 0.5).item(), math.log(5), rel_tol=1e-6)
    assert nt_xent(torch.eye(4).repeat(2, 1), 0.01).item() < 1e-6


def test_views_are_drawn_for_each_image_and_are_images():
    torch.manual_seed(0)
    image = torch.rand(1, 3, 16, 12)
    views = random_views(image.repeat(20, 1, 1, 1), 0.2, 0.5)
    assert views.shape == (20, 3, 16, 12)
    assert views.min() >= 0
    assert views.max() <= 1
    assert len({view.numpy().tobytes() for view in views}) == 20


def test_views_follow_from_the_global_generator():
    images = torch.rand(4, 3, 8, 8)
    torch.manual_seed(1)
    first = random_views(images, 0.2, 0.5)
    torch.manual_seed(1)
    assert torch.equal(first, random_views(images, 0.2, 0.5))


def test_without_strength_no_colour_changes():
    torch.manual_seed(0)
    colour = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1)
    plain = colour.expand(30, 3, 8, 8)
    assert torch.allclose(random_views(plain, 0.2, 0.0), plain, atol=1e-5)
    changed = (random_views(plain, 0.2, 0.5) - plain).abs().amax((1, 2, 3))
    assert (changed > 0.01).float().mean() > 0.6


def test_gray_stays_gray_and_hues_keep_their_brightness():
    torch.manual_seed(0)
    gray = torch.rand(30, 1, 8, 8).expand(30, 3, 8, 8)
    views = random_views(gray, 0.5, 0.5)
    assert torch.allclose(views, views[:, :1].expand_as(views), atol=2e-3)


def test_large_crops_show_much_and_small_ones_little():
    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 32).expand(200, 3, 32, 32)
    mean_width = {}
    for area in (0.05, 0.9):
        views = random_views(ramp, area, 0.0).flatten(1)
        mean_width[area] = (views.amax(1) - views.amin(1)).mean().item()
    assert mean_width[0.05] < 0.75
    assert mean_width[0.9] > 0.88


def test_features_that_were_learned_without_labels_tell_classes(images):
    X, y = images
    net = make(max_epochs=15, lr=3e-3, least_area=0.6, n_labels=30).fit(X, y)
    losses = net.history[:, "train_loss"]
    assert losses[-1] < 0.8 * losses[0]
    assert net.score(X, y) > 0.8
    assert net.transform(X).shape == (90, 16)
    assert np.allclose(net.predict_proba(X).sum(1), 1)


def test_the_baseline_learns_its_labels_in_as_many_steps(images):
    nets = {
        method: make(method=method, max_epochs=8, lr=1e-2).fit(*images)
        for method in ("simclr", "supervised")
    }
    steps = {method: len(net.history[-1, "batches"]) for method, net in nets.items()}
    assert steps["simclr"] == steps["supervised"] == 3
    assert nets["supervised"].score(*images) > 0.6
    assert np.allclose(nets["supervised"].predict_proba(images[0]).sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("method", ["simclr", "supervised"])
def test_no_other_label_is_ever_looked_at(images, method):
    X, y = images
    net = make(method=method).fit(X, y)
    rows = net._rows_
    assert sorted(np.bincount(y[rows])) == [4, 4, 4]

    class Told(ContrastiveClassifier):
        def on_train_begin(self, net, X=None, y=None, **kwargs):
            super().on_train_begin(net, X=X, y=y, **kwargs)
            self._rows_ = rows
            self._labelled_ = X[rows], y[rows]

    wrong = (y + 1) % N_CLASSES
    wrong[rows] = y[rows]
    torch.manual_seed(0)
    other = Told(**make(method=method).get_params(deep=False)).fit(X, wrong)
    assert np.array_equal(net.predict_proba(X), other.predict_proba(X))


@pytest.mark.parametrize("method", ["simclr", "supervised"])
def test_stepped_by_a_trial_it_is_one_fit(images, method):
    fitted = make(method=method).fit(*images)
    stepped = make(method=method)
    stepper = NetStepper(stepped, *images, {})
    for step in (1, 2):
        stepper.step(last=step == 2)
    assert np.array_equal(fitted.predict_proba(images[0]), stepped.predict_proba(images[0]))


def test_it_goes_through_pickles_and_clones(images):
    net = make().fit(*images)
    again = pickle.loads(pickle.dumps(net))
    assert np.array_equal(again.predict_proba(images[0]), net.predict_proba(images[0]))
    assert not hasattr(net, "_labelled_")
    assert clone(net).get_params(deep=False).keys() == make().get_params(deep=False).keys()


def test_an_encoder_that_diverged_raises_nothing(images):
    net = make(lr=1e30, optimizer=torch.optim.SGD).fit(*images)
    assert 0 <= net.score(*images) <= 1
    assert not np.isfinite(net.history[:, "train_loss"]).all()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"method": "simsiam"}, "method must be one of: simclr, supervised. Got 'simsiam'"),
        ({"temperature": 0.0}, "temperature must be greater than 0. Got 0.0"),
        ({"least_area": 1.5}, "least_area must be at most 1. Got 1.5"),
        ({"color_strength": -1}, "color_strength must be 0 or greater. Got -1"),
        ({"n_labels": 2}, "n_labels must be from 3, one a class, to 90"),
        ({"n_labels": 91}, "n_labels must be from 3, one a class, to 90"),
        ({"train_split": 0.2}, "train_split must be None"),
    ],
)
def test_what_is_refused(images, parameters, message):
    with pytest.raises(ValueError, match=message):
        make(**parameters).fit(*images)


def test_a_search_turns_all_of_it_on_the_users_own_encoder(images):
    search = HPOSearchCV(
        make(OwnEncoder),
        {"method": ["simclr", "supervised"], "n_labels": [12, 1000], "temperature": [0.1, 0.5]},
        sampler="grid",
        n_trials=None,
        pruner="nop",
        cv=2,
        refit=False,
    )
    with pytest.warns(FitFailedWarning, match="n_labels must be from 3"):
        search.fit(*images)
    failed = np.isnan(search.cv_results_["mean_test_score"])
    assert failed.sum() == 4  # more labels than images end that trial, not the search

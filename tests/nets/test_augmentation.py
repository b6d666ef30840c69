import numpy as np
import pytest
import torch
from skorch.dataset import ValidSplit
from torch import nn

from hpo import HPOSearchCV
from hpo.modules import MLP
from hpo.nets import ImageClassifier
from hpo.nets._image_batches import CHANGES, POLICIES, Ranges


class Flat(nn.Module):
    """A user's module, on images."""

    def __init__(self, n_features=192, n_units=8):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_features, n_units), nn.ReLU(), nn.Linear(n_units, 2)
        )

    def forward(self, X):
        return self.layers(X.flatten(1))


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(40, 3, 8, 8)).astype(np.float32)
    return X, (X[:, 0].mean(axis=(1, 2)) > 0.5).astype(np.int64)


def classifier(module=Flat, **params):
    given = {"max_epochs": 2, "lr": 0.1, "batch_size": 16, "train_split": None, "verbose": 0}
    return ImageClassifier(module, **{**given, **params})


def fitted(net, X, y, seed=0):
    torch.manual_seed(seed)
    return net.fit(X, y)


def weights(net):
    return torch.cat([p.detach().ravel() for p in net.module_.parameters()])


def seen(net, X, y):
    """Return the batches that the module sees in training and in validation."""
    batches = {True: [], False: []}

    class Watching(net.module):
        def forward(self, X):
            batches[self.training].append(X.clone())
            return super().forward(X)

    fitted(net.set_params(module=Watching), X, y)
    return batches


def pictures(n=8, channels=3, side=8):
    torch.manual_seed(0)
    return torch.rand(n, channels, side, side)


def changed(name, X, strength=1.0, seed=1, **ranges):
    torch.manual_seed(seed)
    return CHANGES[name](X, Ranges(strength, **ranges))


@pytest.mark.parametrize("name", CHANGES)
def test_each_image_has_its_own_draw_and_keeps_its_shape(name):
    X = pictures(1).expand(16, -1, -1, -1)
    Y = changed(name, X)
    assert Y.shape == X.shape
    assert Y.dtype == X.dtype
    assert len({tuple(image.ravel().tolist()) for image in Y}) > 1


@pytest.mark.parametrize("name", [name for name in CHANGES if "flip" not in name])
def test_strength_zero_changes_nothing(name):
    X = pictures()
    torch.testing.assert_close(changed(name, X, strength=0.0), X)


@pytest.mark.parametrize(("name", "axis"), [("flip", -1), ("vflip", -2)])
def test_images_are_mirrored_as_often_as_is_asked_for(name, axis):
    X = pictures(400)
    Y = changed(name, X, flip_probability=0.1)
    mirrored = (X.flip(axis) == Y).flatten(1).all(dim=1)
    assert 20 < mirrored.sum() < 60
    assert torch.equal(changed(name, X, flip_probability=1.0), X.flip(axis))
    assert torch.equal(changed(name, X, flip_probability=0.0), X)


def test_a_rotation_has_a_largest_angle():
    X = torch.zeros(300, 1, 33, 33)
    X[:, :, 16, 28] = 1.0  # 12 pixels to the right of the middle
    mass = changed("rotation", X, rotation_degrees=90.0).squeeze(1)
    rows, columns = (torch.arange(33.0) - 16 for _ in range(2))
    total = mass.sum(dim=(1, 2))
    y = (mass.sum(2) @ rows) / total
    x = (mass.sum(1) @ columns) / total
    angles = torch.rad2deg(torch.atan2(y, x))
    assert 80 < angles.max() < 91
    assert -91 < angles.min() < -80


def test_a_flipped_image_is_itself_or_its_mirror_image():
    X = pictures(64)
    Y = changed("flip", X)
    kept = (Y == X).flatten(1).all(dim=1)
    mirrored = (X.flip(-1) == Y).flatten(1).all(dim=1)
    assert (kept ^ mirrored).all()
    assert 16 < kept.sum() < 48


def test_a_cropped_image_is_shifted_by_an_eighth_at_most_with_zeros_around():
    X = torch.zeros(200, 1, 16, 16)
    X[:, :, 8, 8] = 1.0
    places = changed("crop", X).squeeze(1).nonzero()
    assert len(places) == 200  # nothing is lost, nothing appears
    assert {tuple(place) for place in places[:, 1:].tolist()} == {
        (y, x) for y in range(6, 11) for x in range(6, 11)
    }
    assert (changed("crop", torch.ones(50, 1, 16, 16)) == 0).any()


def test_a_rotation_turns_by_the_same_angle_whatever_the_sides():
    X = torch.zeros(64, 1, 33, 65)
    X[:, :, 16, 32 + 12] = 1.0  # 12 pixels to the right of the middle
    Y = changed("rotation", X, strength=2.0)
    y, x = torch.meshgrid(torch.arange(33.0) - 16, torch.arange(65.0) - 32, indexing="ij")
    mass = Y.sum(dim=(1, 2, 3))
    there = (
        torch.stack([(Y[:, 0] * y).sum((1, 2)), (Y[:, 0] * x).sum((1, 2))], dim=1) / mass[:, None]
    )
    radius = there.norm(dim=1)
    assert (radius - 12).abs().max() < 0.6
    angle = torch.rad2deg(torch.atan2(there[:, 0], there[:, 1]))
    assert 20 < angle.abs().max() <= 31
    assert (angle > 0).any()
    assert (angle < 0).any()


def test_colours_stay_in_range_and_shapes_stay():
    X = pictures(32)
    Y = changed("colour", X)
    assert Y.amin() >= X.amin()
    assert Y.amax() <= X.amax()
    grey = X[:, :1].expand(-1, 3, -1, -1)
    Z = changed("colour", grey)
    torch.testing.assert_close(Z[:, 0], Z[:, 1])  # grey stays grey


@pytest.mark.parametrize(
    "augmentation", ["flip", "crop", "flip_crop", "flip_crop_rotation_colour", *POLICIES]
)
def test_training_sees_changed_images_and_validation_does_not(images, augmentation):
    X, y = images
    net = classifier(augmentation=augmentation, train_split=ValidSplit(2), max_epochs=1)
    batches = seen(net, X, y)
    known = {tuple(image.ravel()) for image in X.tolist() for image in [np.float32(image)]}
    train, valid = (torch.cat(batches[training]) for training in (True, False))
    assert all(tuple(image.ravel().numpy()) in known for image in valid)
    assert not all(tuple(image.ravel().numpy()) in known for image in train)
    assert train.shape[1:] == X.shape[1:]
    assert train.amin() >= 0
    assert train.amax() <= 1


def test_the_same_seed_gives_the_same_weights_and_none_is_plain_training(images):
    X, y = images
    for name in ("flip_crop_rotation_colour", "randaugment"):
        first, second = (fitted(classifier(augmentation=name), X, y) for _ in range(2))
        assert torch.equal(weights(first), weights(second))
    plain = fitted(classifier(), X, y)
    assert torch.equal(weights(plain), weights(fitted(classifier(augmentation="none"), X, y)))
    assert not torch.equal(weights(plain), weights(first))


def test_flat_rows_are_images_of_the_given_shape(images):
    X, y = images
    as_images = fitted(classifier(augmentation="flip_crop"), X, y)
    flat = fitted(
        classifier(augmentation="flip_crop", image_shape=(3, 8, 8)), X.reshape(len(X), -1), y
    )
    assert torch.equal(weights(as_images), weights(flat))


def test_an_epoch_shows_each_sample_as_often_as_it_repeats(images):
    X, y = images
    net = classifier(repeats=3, max_epochs=1, iterator_train__shuffle=True)
    shown = torch.cat(seen(net, X, y)[True]).flatten(1)
    _, counts = torch.unique(shown, dim=0, return_counts=True)
    assert counts.tolist() == [3] * len(X)
    assert net.history[-1, "train_batch_count"] == 3 * 3
    orders = shown.reshape(3, len(X), -1)
    assert not torch.equal(orders[0], orders[1])


def test_a_search_tunes_it_on_a_module_of_ones_own(images):
    search = HPOSearchCV(
        classifier(),
        {"augmentation": ["none", "flip_crop"], "repeats": [1, 2], "module__n_units": [4]},
        sampler="grid",
        n_trials=None,
        cv=2,
    )
    search.fit(*images)
    assert len(search.cv_results_["params"]) == 4


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"augmentation": "flip_crp"}, r"^augmentation must be none, one of.*Got 'flip_crp'"),
        ({"augmentation_strength": -1.0}, r"^augmentation_strength must be a number of 0 or"),
        ({"augmentation": "colour", "augmentation_strength": 3.0}, r"must be at most 2\.5"),
        ({"repeats": 0}, r"^repeats must be at least 1"),
        ({"image_shape": (4, 4)}, r"^image_shape must be three numbers"),
    ],
)
def test_a_value_out_of_range_is_refused(images, params, message):
    with pytest.raises(ValueError, match=message):
        fitted(classifier(**params), *images)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ones((8, 2, 4, 4), np.float32), "needs images of 1 or 3 channels"),
        (np.full((8, 3, 4, 4), 2.0, np.float32), "needs pixels from 0 to 1"),
        (np.ones((8, 48), np.float32), "needs a batch of shape"),
        (np.ones((8, 3, 4, 4), np.int64), "needs images of floating-point numbers"),
    ],
)
def test_images_that_cannot_be_changed_are_refused(X, message):
    with pytest.raises(ValueError, match=message):
        fitted(classifier(augmentation="randaugment"), X, np.arange(8) % 2)


def test_the_packages_own_mlp_takes_flat_images():
    rng = np.random.default_rng(0)
    net = classifier(
        MLP,
        module__n_features=64,
        module__n_classes=2,
        augmentation="crop_rotation",
        image_shape=(1, 8, 8),
    )
    X = rng.uniform(size=(20, 64)).astype(np.float32)
    assert fitted(net, X, np.arange(20) % 2).predict(X).shape == (20,)

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skorch import NeuralNetRegressor
from torch import nn

from hpo.nets import ImageClassifier, MixingMixin, RegularizedClassifier
from hpo.training.objective import Objective
from hpo.trial import Trial

N_CLASSES = 3
RNG = np.random.default_rng(0)
X = RNG.uniform(size=(60, 2, 6, 6)).astype("float32")
Y = np.arange(60) % N_CLASSES


class Flat(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(72, N_CLASSES))


class Net(MixingMixin, RegularizedClassifier):
    """What a user writes."""

    def train_step_single(self, batch, **fit_params):
        self.seen = batch
        step = super().train_step_single(batch, **fit_params)
        self.seen_loss = float(step["loss"].detach())
        self.seen_logits = step["y_pred"].detach()
        return step


class Regressor(MixingMixin, NeuralNetRegressor):
    pass


def net(cls=Net, **params):
    given = {"max_epochs": 1, "lr": 0.0, "batch_size": 20, "train_split": None, "verbose": 0}
    return cls(Flat, **given | params)


def trained(y=Y[:20], **params):
    """Return a net after one batch, the batch, and each sample's most similar originals."""
    torch.manual_seed(1)
    fitted = net(iterator_train__shuffle=False, **params).fit(X[:20], y)
    return fitted, fitted.seen[0], torch.as_tensor(X[:20])


def shares(mixed, original):
    """Return the share of each original, and the place of the other one, by least squares."""
    found = []
    for i, sample in enumerate(mixed.flatten(1)):
        a = original[i].flatten()
        best = None
        for j, b in enumerate(original.flatten(1)):
            d = a - b
            share = ((sample - b) @ d / d.square().sum()).item() if i != j else 1.0
            error = (share * a + (1 - share) * b - sample).abs().max().item()
            best = min(best or (9, 0, 0), (error, j, share))
        found.append(best)
    errors, places, share = map(np.array, zip(*found, strict=True))
    assert errors.max() < 1e-5
    own = share > 1 - 1e-4  # mixed with itself
    return np.where(own, np.arange(len(places)), places), share


@pytest.mark.parametrize(
    "criterion",
    [
        {},
        {"criterion__weight": torch.tensor([1.0, 5.0, 0.2])},
        {"criterion__label_smoothing": 0.2},
    ],
)
def test_samples_and_labels_are_mixed_in_the_same_shares(criterion):
    fitted, mixed, original = trained(mixup_alpha=1.0, **criterion)
    places, share = shares(mixed, original)
    moved = places != np.arange(20)
    assert np.ptp(share[moved]) < 1e-4  # one share a batch
    lam = share[moved].mean()
    # The loss by definition: each sample's own, with the weight of its mixed label.
    weight = criterion.get("criterion__weight", torch.ones(N_CLASSES))
    soft = lam * F.one_hot(torch.as_tensor(Y[:20]), N_CLASSES).float()
    soft += (1 - lam) * F.one_hot(torch.as_tensor(Y[places]), N_CLASSES).float()
    smooth = criterion.get("criterion__label_smoothing", 0.0)
    soft = (1 - smooth) * soft + smooth / N_CLASSES
    logs = F.log_softmax(fitted.seen_logits, dim=1)
    norm = weight[torch.as_tensor(Y[:20])].sum()
    assert fitted.seen_loss == pytest.approx(
        (-(soft * weight * logs).sum() / norm).item(), rel=1e-4
    )


def test_a_rectangle_of_another_image_is_cut_in():
    fitted, mixed, original = trained(cutmix_alpha=1.0)
    changed = (mixed != original).any(1)  # the same place in all images that have another partner
    box = changed.any(0)
    share = 1 - box.float().mean().item()
    assert 0 < share < 1
    rows, columns = box.any(1), box.any(0)
    assert torch.equal(box, rows[:, None] & columns)
    inside = mixed[:, :, box]
    partners = [int((original[:, :, box] == one).all(2).all(1).nonzero()[0]) for one in inside]
    first, other = (
        F.cross_entropy(fitted.seen_logits, torch.as_tensor(y)) for y in (Y[:20], Y[partners])
    )
    assert fitted.seen_loss == pytest.approx((share * first + (1 - share) * other).item(), rel=1e-5)


def test_flat_rows_have_a_shape_and_both_ways_take_turns():
    kinds = []

    class Both(ImageClassifier):
        def _mix(self, Xi):
            mixed = super()._mix(Xi)
            originals = torch.isin(mixed[0], Xi).all().item()
            kinds.append(originals)
            return mixed

    torch.manual_seed(0)
    flat = {"image_shape": (2, 6, 6), "max_epochs": 8}
    net(Both, mixup_alpha=0.5, cutmix_alpha=0.5, **flat).fit(X.reshape(60, -1), Y)
    assert {True, False} == set(kinds)


def test_labels_of_any_kind_and_predictions_of_whole_samples():
    fitted, *_ = trained(y=np.array(["a", "b"] * 10), mixup_alpha=0.4)
    assert set(fitted.predict(X)) <= {"a", "b"}
    plain = net(mixup_alpha=0.0)
    torch.manual_seed(0)
    plain.fit(X, Y)
    assert plain.get_loss(torch.zeros(2, 3), torch.tensor([0, 1])).item() == pytest.approx(
        np.log(3)
    )


def test_no_alpha_draws_no_random_number():
    def state(**params):
        torch.manual_seed(0)
        net(**params).fit(X, Y)
        return torch.get_rng_state()

    class Plain(RegularizedClassifier):
        pass

    assert torch.equal(state(), state(cls=Plain))
    assert not torch.equal(state(), state(mixup_alpha=0.2))


def test_a_search_turns_alpha_and_repeats_itself():
    objective = Objective(net(lr=0.1), X, Y, cv=2, epochs=2)
    trial = Trial(0, {"mixup_alpha": 0.3, "l2_lambda": 0.1}, seed=1)
    first = [report.fold_values for report in objective.run(trial)]
    torch.manual_seed(9)
    assert [report.fold_values for report in objective.run(trial)] == first


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"mixup_alpha": -1.0}, "mixup_alpha must be a number of 0 or greater. Got -1.0"),
        ({"cutmix_alpha": float("inf")}, "cutmix_alpha must be a number of 0 or greater. Got inf"),
        ({"mixup_alpha": 1.0, "criterion": nn.MultiMarginLoss}, "Got MultiMarginLoss instead."),
        ({"mixup_alpha": 1.0, "cls": Regressor}, "mix classes: .* Got MSELoss instead."),
    ],
)
def test_what_cannot_be_mixed_is_refused(params, message):
    with pytest.raises(ValueError, match=message):
        net(**params).initialize()


def test_what_is_no_image_is_not_cut():
    with pytest.raises(ValueError, match="cutmix_alpha needs images of shape"):
        net(cutmix_alpha=1.0).fit(X.reshape(60, -1), Y)
    with pytest.raises(ValueError, match=r"Got torch.int64"):
        net(mixup_alpha=1.0).fit((X * 9).astype(int), Y)

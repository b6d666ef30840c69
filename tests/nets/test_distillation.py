import pickle
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import LinearSVC
from torch import nn

from hpo.modules import MLP
from hpo.nets import ImageClassifier, distillation
from hpo.training.objective import Objective
from hpo.trial import Trial


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 4)).astype(np.float32)
    return X, np.argmax(X[:, :3] + rng.normal(scale=0.5, size=(90, 3)), axis=1)


@pytest.fixture(autouse=True)
def _no_teachers():
    distillation._TEACHERS.clear()


def net(**params):
    given = {"max_epochs": 3, "lr": 0.1, "train_split": None, "verbose": 0}
    shape = {"module__n_features": 4, "module__n_classes": 3}
    return ImageClassifier(MLP, **shape, **{**given, **params})


class Counting(LogisticRegression):
    """Counts how often one is fitted, and on how many samples."""

    fitted_on: ClassVar = []

    def fit(self, X, y):
        self.fitted_on.append(len(X))
        return super().fit(X, y)


@pytest.fixture
def counting():
    Counting.fitted_on.clear()
    return Counting()


def fitted(estimator, X, y, seed=0):
    torch.manual_seed(seed)
    return estimator.fit(X, y)


def weights(estimator):
    return torch.cat([p.detach().ravel() for p in estimator.module_.parameters()])


def test_the_loss_is_hintons(data):
    X, y = data
    student = fitted(
        net(teacher=net(max_epochs=5), temperature=3.0, alpha=0.7, l2_lambda=0.01), X, y
    )
    teacher = distillation._TEACHERS[student.teacher_key_]
    batch, labels = torch.from_numpy(X), torch.from_numpy(y)
    logits = student.infer(batch)
    told, learned = (F.softmax(z / 3, dim=1) for z in (teacher.forward(X), logits))
    soft = (told * (told.log() - learned.log())).sum(dim=1).mean()
    hard = F.cross_entropy(logits, labels)
    penalty = 0.01 * sum(w.square().sum() for w in student.module_.parameters() if w.ndim > 1)
    loss = student.get_loss(logits, labels, X=batch, training=True)
    torch.testing.assert_close(loss, 0.7 * 9 * soft + 0.3 * hard + penalty)
    torch.testing.assert_close(student.get_loss(logits, labels, X=batch, training=False), hard)


def test_samples_without_labels_join_each_batch(data):
    X, y = data
    more = X[60:] + 1
    student = fitted(
        net(teacher=LogisticRegression(), temperature=2.0, alpha=1.0, unlabelled=more),
        X[:60],
        y[:60],
    )
    teacher = distillation._TEACHERS[student.teacher_key_]
    batch, labels = torch.from_numpy(X[:60]), torch.from_numpy(y[:60])
    torch.manual_seed(3)
    loss = student.get_loss(student.infer(batch), labels, X=batch, training=True)
    torch.manual_seed(3)
    joined = np.concatenate([X[:60], more[torch.randint(30, (60,)).numpy()]])
    told = torch.as_tensor(teacher.predict_proba(joined)).log() / 2
    learned = F.log_softmax(student.infer(torch.from_numpy(joined)) / 2, dim=1)
    told = F.log_softmax(told, dim=1)
    torch.testing.assert_close(
        loss, 4 * (told.exp() * (told - learned)).sum(1).mean(), atol=1e-4, rtol=1e-4
    )


def test_a_student_who_never_sees_a_place_learns_it_from_its_teacher():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4)).astype(np.float32)
    y = np.argmax(X[:, :3], axis=1)
    few = X[:20]
    options = dict(teacher=Fixed().fit(X, y), alpha=1.0, temperature=1.0, max_epochs=100, lr=0.3)
    alone = fitted(net(**options), few, y[:20])
    helped = fitted(net(unlabelled=X[20:], **options), few, y[:20])
    assert helped.score(X, y) > alone.score(X, y) + 0.03


class Fixed(LogisticRegression):
    """A teacher who learned before, from more samples."""

    def __sklearn_clone__(self):
        return self

    def fit(self, X, y):
        return self if hasattr(self, "coef_") else super().fit(X, y)


def test_samples_without_labels_are_like_those_with(data):
    X, y = data
    teacher = LogisticRegression()
    with pytest.raises(ValueError, match=r"samples of shape \(4,\), as X does. Got \(3,\)"):
        net(teacher=teacher, unlabelled=X[:, :3]).fit(X, y)
    with pytest.raises(ValueError, match="need a teacher"):
        net(unlabelled=X).initialize()
    with pytest.raises(ValueError, match="It is empty"):
        net(teacher=teacher, unlabelled=X[:0]).initialize()


def test_without_a_teachers_weight_it_is_plain_training_and_no_teacher_is_fitted(data, counting):
    X, y = data
    plain = weights(fitted(net(), X, y))
    assert torch.equal(plain, weights(fitted(net(teacher=counting, alpha=0.0), X, y)))
    assert counting.fitted_on == []
    assert not torch.equal(plain, weights(fitted(net(teacher=counting, alpha=0.5), X, y)))


def test_a_student_of_the_teacher_alone_becomes_like_it(data):
    X, y = data
    teacher = LogisticRegression(C=10)
    student = net(teacher=teacher, alpha=1.0, temperature=1.0, max_epochs=200, lr=0.5)
    proba = fitted(student, X, y).predict_proba(X)
    assert np.abs(proba - teacher.fit(X, y).predict_proba(X)).max() < 0.1


def test_a_teacher_sees_the_training_part_alone_and_trials_share_it(data, counting):
    objective = Objective(net(teacher=counting), *data, cv=StratifiedKFold(3), scoring="accuracy")
    for number, temperature in enumerate([1.0, 4.0]):
        list(objective.run(Trial(number, {"temperature": temperature}, number)))
    assert counting.fitted_on == [60, 60, 60]


def test_results_do_not_depend_on_who_fits_the_teacher_first(data):
    objective = Objective(
        net(teacher=net(max_epochs=2)), *data, cv=StratifiedKFold(2), scoring="neg_log_loss"
    )
    trial = Trial(0, {"alpha": 0.9}, 5)
    alone = [report.fold_values for report in objective.run(trial)]
    distillation._TEACHERS.clear()
    list(objective.run(Trial(1, {"alpha": 0.3}, 9)))
    assert [report.fold_values for report in objective.run(trial)] == alone


def test_put_aside_it_finds_its_teacher_again_in_another_process(data):
    objective = Objective(
        net(max_epochs=4, teacher=net(max_epochs=2)),
        *data,
        cv=StratifiedKFold(2),
        scoring="neg_log_loss",
    )
    trial = Trial(0, {"alpha": 0.9}, 5)
    straight = [report.fold_values for report in objective.run(trial)]
    first = objective.run(trial)
    values = [next(first).fold_values for _ in range(2)]
    state = first.state()
    first.close()
    distillation._TEACHERS.clear()
    values += [report.fold_values for report in objective.resume(trial, state)]
    assert values == straight


def test_a_pickle_of_the_student_predicts_without_its_teacher(data):
    X, y = data
    student = fitted(net(teacher=net(module__hidden_units=512)), X, y)
    text = pickle.dumps(student)
    assert len(text) < 4 * 512 * 512  # bytes of the teacher's weights
    distillation._TEACHERS.clear()
    np.testing.assert_array_equal(pickle.loads(text).predict(X), student.predict(X))


def test_more_data_get_a_teacher_of_their_own(data, counting):
    X, y = data
    student = fitted(net(teacher=counting), X, y)
    student.partial_fit(X[:50], y[:50])
    assert counting.fitted_on == [90, 50]


def test_old_teachers_are_forgotten(data, monkeypatch, counting):
    monkeypatch.setattr(distillation, "_MAX_TEACHERS", 1)
    X, y = data
    for n in (60, 90, 90):
        fitted(net(teacher=counting), X[:n], y[:n])
    assert counting.fitted_on == [60, 90]
    assert len(distillation._TEACHERS) == 1


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"temperature": 0.0}, r"^temperature must be greater than 0"),
        ({"alpha": 1.5}, r"^alpha must be from 0 to 1"),
        ({"teacher": LinearSVC()}, r"^The teacher must have predict_proba. Got LinearSVC"),
        ({"teacher": LogisticRegression(), "criterion": nn.NLLLoss}, r"needs criterion=.*NLLLoss"),
    ],
)
def test_what_cannot_be_is_refused(data, params, message):
    with pytest.raises(ValueError, match=message):
        fitted(net(**params), *data)

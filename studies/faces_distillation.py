"""Asks whether a small net learns better from a larger one's probabilities than from labels alone.

The teacher is fitted on each fold's training part, never on what it is validated on, and the
student on a mixture of its softened probabilities and the labels (Hinton, Vinyals and Dean 2015,
*Distilling the knowledge in a neural network*). ``alpha = 0`` is the student by itself.

The teacher is a net of some four times the filters, on mirrored and
shifted images; ``--teacher STUDY`` takes its parameters and its epochs from the winner of another
study of such a net, such as faces_augmentation.

The animal faces of $HPO_DATA stand in for AFHQ where that is not at hand; the score is balanced
accuracy, because their classes are of unequal size (chance: 1/3).

Found at the default size: a student by itself scores 0.754 ± 0.013, with half of its loss from the
teacher 0.752 ± 0.030, at temperature 4 0.736 ± 0.011; none is told apart: on so few images a
teacher of four times the filters, 15 epochs old, is no help.
"""

from typing import Any

from sklearn.model_selection import RepeatedStratifiedKFold
from torch.optim import AdamW

from hpo import Study, load_result
from hpo.data import load_faces
from hpo.exceptions import StudyError
from hpo.modules import CNN
from hpo.nets import ImageClassifier


def network(**params: Any) -> ImageClassifier:
    """Return an image classifier for the faces."""
    given = {
        "module__n_classes": 3,
        "module__in_channels": 3,
        "module__image_size": 32,
        "module__n_blocks": 3,
        "module__norm": "batch",
        "optimizer": AdamW,
        "lr": 2e-3,
        "batch_size": 32,
        "iterator_train__shuffle": True,
        "iterator_train__drop_last": True,  # batch norm needs more than a few samples
        "train_split": None,
        "verbose": 0,
    }
    return ImageClassifier(CNN, **given | params)


def winner_of(name: str, storage: str, teacher: ImageClassifier) -> ImageClassifier:
    """Return ``teacher`` with what another study chose."""
    result = load_result(name, storage)
    if result.space is None:
        raise StudyError(f"hpo did not make the study {name!r} in {storage}: it has no teacher.")
    try:
        teacher.set_params(**result.space.resolve(result.best_params), max_epochs=result.best_step)
    except ValueError as error:
        raise StudyError(f"The winner of {name!r} cannot be a teacher here: {error}") from error
    return teacher


def study(
    full: bool = False, teacher: str = "", teacher_storage: str = "journal:///hpo.journal"
) -> Study:
    """Compare a student with and without a teacher.

    Parameters
    ----------
    full : bool
        More filters, more epochs, five folds four times instead of once.
    teacher : str
        Name of another study whose winner teaches; empty for one that stands here.
    teacher_storage : str
        Where that study is kept.
    """
    filters, epochs = (8, 100) if full else (3, 15)
    teaching = network(
        module__filters=4 * filters,
        augmentation="flip_crop",
        max_epochs=epochs,
    )
    if teacher:
        teaching = winner_of(teacher, teacher_storage, teaching)
    suffix = f"_by_{teacher}" if teacher else ""
    return Study(
        name=f"faces_distillation{'_full' if full else ''}{suffix}",
        estimator=network(
            module__filters=filters,
            module__hidden_units=16,
            max_epochs=epochs,
            teacher=teaching,
        ),
        data=load_faces,
        search_space="../search_spaces/faces_distillation.yaml",
        scoring="balanced_accuracy",
        cv=RepeatedStratifiedKFold(n_splits=5, n_repeats=4 if full else 1, random_state=0),
        sampler="grid",
        pruner="nop",
        n_trials=None,
        watch=["train_loss"],
    )

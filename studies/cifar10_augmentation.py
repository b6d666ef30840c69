"""Asks what changing the training images at random does on CIFAR-10, and what it costs.

As faces_augmentation, with ten classes and more images. Where the original files of CIFAR-10 are
not at hand, its images are re-encoded as JPEG, which the data's source says: such figures are
not to be compared with published ones.

Found at the default size: 0.480 ± 0.008 with AutoAugment, 0.467 ± 0.015 without any: on 1,500
images and 15 epochs no two policies are told apart. Weights stay smaller (8.2 to 8.3 against 9.0,
but for flips alone); held-out test 0.468.
"""

from functools import partial

from sklearn.model_selection import RepeatedStratifiedKFold
from skorch.callbacks import LRScheduler
from torch.optim import AdamW

from hpo import Study
from hpo.callbacks import WeightStats
from hpo.data import load_cifar10
from hpo.modules import CNN
from hpo.nets import ImageClassifier


def study(full: bool = False) -> Study:
    """Compare augmentations of images.

    Parameters
    ----------
    full : bool
        All 50,000 images instead of 1,500, more filters, more epochs.
    """
    n_images = None if full else 1500
    epochs = 100 if full else 15
    return Study(
        name="cifar10_augmentation_full" if full else "cifar10_augmentation",
        estimator=ImageClassifier(
            CNN,
            module__n_classes=10,
            module__in_channels=3,
            module__image_size=32,
            module__n_blocks=3,
            module__filters=64 if full else 8,
            module__norm="batch",
            optimizer=AdamW,
            lr=2e-3,
            batch_size=128 if full else 32,
            max_epochs=epochs,
            iterator_train__shuffle=True,
            iterator_train__drop_last=True,  # batch norm needs more than a few samples
            callbacks=[
                ("weights", WeightStats()),
                ("cosine", LRScheduler("CosineAnnealingLR", T_max=epochs)),
            ],
            train_split=None,
            verbose=0,
        ),
        data=partial(load_cifar10, n_images, refit_on_all=False),
        search_space="../search_spaces/cifar10_augmentation.yaml",
        scoring="accuracy",
        cv=RepeatedStratifiedKFold(n_splits=5, n_repeats=1, random_state=0),
        sampler="grid",
        pruner="nop",
        n_trials=None,
        watch=["train_loss", "weight_norm"],
    )

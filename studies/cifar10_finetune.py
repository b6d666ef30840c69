"""Asks how a net that was trained on CIFAR-10 is best fine-tuned to another task.

The pretrained ResNet-20 (`hpo.data.find_resnet_cifar10`) has seen all training images of CIFAR-10:
cross-validated on them, any way of training it further would look far too good. So the task is one
whose images it has never seen: 19 species of animals by their faces (`hpo.data.load_animal_faces`,
32 x 32 pixels, some 15 training images a species in a fold of the default size).

The strategies: all layers at one learning rate, or the body at parts of the head's, from 0.3 to
0.001; two, three or all four stages before the head frozen; gradual unfreezing from the head down;
and the same net from random weights, to see what the pretrained ones are worth. Each is shown at
its own best learning rate, with its best accuracy and the first epoch that had 95 % of it
(`epochs_to_95`, the mean over the folds).

Found at two folds: the upper stage and the head alone (0.702 ± 0.012, 95 % of it after 5
epochs) and gradual unfreezing (0.685, after 6.5) do best, all layers at one rate 0.675, the body
at a tenth of it 0.578, the head alone 0.472, the same net from random weights 0.305, which is
worse; held-out test 0.768. Two folds order the others and do not prove it.
"""

from functools import partial
from typing import Any

from sklearn.metrics import accuracy_score
from sklearn.model_selection import RepeatedStratifiedKFold

from hpo import Study
from hpo.callbacks import Freezing, LRSchedule
from hpo.data import find_resnet_cifar10, load_animal_faces
from hpo.modules import ResNetCIFAR
from hpo.nets import FineTuningClassifier

N_SPECIES = 19


def study(full: bool = False) -> Study:
    """Fine-tune a residual net to the faces of animals.

    Parameters
    ----------
    full : bool
        All training images, 30 epochs and five folds three times, for a GPU.
    """
    epochs = 30 if full else 8
    return Study(
        name="cifar10_finetune_full" if full else "cifar10_finetune",
        estimator=FineTuningClassifier(
            ResNetCIFAR,
            module__n_classes=N_SPECIES,
            module__weights=str(find_resnet_cifar10("resnet20")),
            optimizer__momentum=0.9,
            optimizer__weight_decay=1e-4,
            callbacks=[
                ("freezing", Freezing()),
                ("schedule", LRSchedule("cosine", epochs=epochs)),
            ],
            max_epochs=epochs,
            batch_size=32,
            iterator_train__shuffle=True,
            train_split=None,
            verbose=0,
        ),
        data=partial(
            load_animal_faces, n_train=None if full else 600, label="species", refit_on_all=full
        ),
        search_space="../search_spaces/cifar10_finetune.yaml",
        scoring=accuracy_and_speed,
        metric="accuracy",
        cv=RepeatedStratifiedKFold(n_splits=5, n_repeats=3 if full else 1, random_state=0),
        sampler="grid",
        pruner="nop",
        n_trials=None,
        compare=[
            "module__pretrained",
            "callbacks__freezing__depth",
            "callbacks__freezing__unfreeze_every",
            "body_lr_ratio",
        ],
        watch=["epochs_to_95"],
    )


def accuracy_and_speed(net: Any, X: Any, y: Any) -> dict[str, float]:
    """Return the accuracy, and the first epoch that had 95 % of the best so far."""
    accuracy = accuracy_score(y, net.predict(X))
    net.history.record("valid_accuracy", accuracy)
    so_far = net.history[:, "valid_accuracy"]
    first = next(i for i, value in enumerate(so_far, 1) if value >= 0.95 * max(so_far))
    return {"accuracy": accuracy, "epochs_to_95": float(first)}

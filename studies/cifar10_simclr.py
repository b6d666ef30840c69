"""Asks whether pre-training without labels helps where there are few, on CIFAR-10.

SimCLR (Chen et al. 2020, *A simple framework for contrastive learning of visual representations*)
trains a small encoder on all images of a fold's training part without their labels; a linear probe
then sees 100 or 1,000 labels. The baseline trains the same encoder with a linear head on those
labelled images alone, with the same views and as many optimizer steps on half as many views.

The paper trains a ResNet-50 for 1,000 epochs in batches of thousands; this encoder has some 50,000
weights and 15 epochs on 2,000 images. CIFAR-10 may be here as images that were compressed again as
JPEG: its figures cannot be set beside published ones.

Found at the default size: with 1,000 labels the probe scores 0.401 and the supervised net 0.397 ±
0.006, with 100 labels 0.288 and 0.307 ± 0.002: fifteen epochs on 2,000 images are too few for pre-
training to pay. Two folds; held-out test of the winner 0.426.
"""

from functools import partial

from hpo import Study
from hpo.callbacks import LRSchedule
from hpo.data import load_cifar10
from hpo.modules import ConvEncoder
from hpo.nets import ContrastiveClassifier


def study(full: bool = False) -> Study:
    """Pre-train an encoder contrastively.

    Parameters
    ----------
    full : bool
        All images, a wider encoder, larger batches and 100 epochs, and a search that turns the
        width of the projection, the crops, the learning rate and the epochs too; for a GPU.
    """
    epochs = 100 if full else 15
    name = "cifar10_simclr_full" if full else "cifar10_simclr"
    return Study(
        name=name,
        estimator=ContrastiveClassifier(
            ConvEncoder,
            module__width=64 if full else 24,
            module__n_stages=4 if full else 3,
            n_classes=10,
            lr=3e-3,
            batch_size=512 if full else 128,
            max_epochs=epochs,
            iterator_train__shuffle=True,
            callbacks=[("schedule", LRSchedule("cosine", epochs=epochs))],
            verbose=0,
        ),
        data=partial(load_cifar10, n_train=None if full else 4_000, refit_on_all=full),
        search_space=f"../search_spaces/{name}.yaml",
        scoring="accuracy",
        cv=5 if full else 2,
        sampler="tpe" if full else "grid",
        pruner="nop",
        n_trials=60 if full else None,
        compare=["method", "n_labels"],
        watch=["train_loss"],
        analyses=["confusion"],
    )

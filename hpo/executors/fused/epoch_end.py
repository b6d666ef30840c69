"""What nets do at the end of an epoch, done for a batch of models."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from hpo.executors.fused.replayed_callbacks import BaseReplayed
from hpo.executors.fused.scores import batch_scores
from hpo.executors.fused.splits import HeldOut
from hpo.fused import FusedModels
from hpo.training.scoring import Scoring

__all__ = ["callbacks_of", "end_epoch"]


def end_epoch(
    models: FusedModels,
    losses: torch.Tensor,
    nets: Mapping[int, Any],
    held_out: HeldOut | None,
    scorings: Mapping[str, Scoring],
) -> None:
    """Validate on the nets' own validation parts, and tell their callbacks.

    Parameters
    ----------
    models : FusedModels
    losses : tensor of shape (n_folds, n_slots)
        Training losses of the epoch.
    nets : mapping of int to skorch net
        By the slots that are taken.
    held_out : HeldOut or None
    scorings : mapping of str to Scoring
        Of the validation part.
    """
    slots = [slot for slot in nets if models.schedules(slot)]
    if not slots:
        return
    found: dict[str, Sequence[Sequence[float]]] = {"train_loss": losses[:, slots].tolist()}
    if held_out is not None:
        outputs = models.predict(held_out.X)
        found["valid_loss"] = models.losses(outputs, held_out.y, held_out.n)[:, slots].tolist()
        judged = [nets[slot] for slot in slots]
        for name, scoring in scorings.items():
            scores = batch_scores(scoring, judged, outputs[:, slots], held_out.labels)
            found[name] = [[next(iter(own.values())) for own in fold] for fold in scores]
    for j, slot in enumerate(slots):
        for fold, callbacks in enumerate(callbacks_of(models, slot)):
            callbacks.end_epoch({name: values[fold][j] for name, values in found.items()})


def callbacks_of(models: FusedModels, slot: int) -> list[BaseReplayed]:
    """Return the callbacks of the model in a slot, one a fold; none if it has none."""
    return [made for made in models.schedules(slot) if isinstance(made, BaseReplayed)]

"""The end of an epoch for a batch of models: validation and callbacks."""

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
    """Score the nets' own validation parts, and call the callbacks.

    Parameters
    ----------
    models : FusedModels
    losses : tensor of shape (n_folds, n_slots)
        Training losses of the epoch.
    nets : mapping of int to skorch net
        Nets by occupied slot.
    held_out : HeldOut or None
    scorings : mapping of str to Scoring
        Scorers of the validation part.
    """
    slots = [slot for slot in nets if models.schedules(slot)]
    if not slots:
        return
    metrics: dict[str, Sequence[Sequence[float]]] = {"train_loss": losses[:, slots].tolist()}
    if held_out is not None:
        outputs = models.predict(held_out.X)
        metrics["valid_loss"] = models.losses(outputs, held_out.y, held_out.n)[:, slots].tolist()
        scored_nets = [nets[slot] for slot in slots]
        for name, scoring in scorings.items():
            scores = batch_scores(scoring, scored_nets, outputs[:, slots], held_out.labels)
            metrics[name] = [
                [next(iter(model_scores.values())) for model_scores in fold] for fold in scores
            ]
    for j, slot in enumerate(slots):
        for fold, callbacks in enumerate(callbacks_of(models, slot)):
            callbacks.end_epoch({name: values[fold][j] for name, values in metrics.items()})


def callbacks_of(models: FusedModels, slot: int) -> list[BaseReplayed]:
    """Return the callbacks of the model in a slot, one per fold; empty if it has none."""
    return [schedule for schedule in models.schedules(slot) if isinstance(schedule, BaseReplayed)]

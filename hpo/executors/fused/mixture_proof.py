"""Proof, before a trial joins others that differ in more than numbers, that it is trained as alone.

The trial and the largest one of the batch are trained for two short epochs in float64, in a batch
and each by its own net.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from hpo.executors.fused.epoch_end import end_epoch
from hpo.executors.fused.extract import ExtractedTrial, ModelExtractor
from hpo.executors.fused.mixing import Grouping, Mixture
from hpo.executors.fused.proof import LR_IF_DIVERGED, some_held_out
from hpo.executors.fused.reference import NetReference
from hpo.fused import DivergedError, FusedModels, ModelState, NotFusibleError, Plan, certify
from hpo.training.random_stream import RandomStream
from hpo.trial import derive_seed

__all__ = ["why_apart"]

N_ROWS = 8
"""Rows of the smallest minibatch in a proof."""


def why_apart(
    extractor: ModelExtractor,
    mixture: Mixture,
    grouping: Grouping,
    extracted: ExtractedTrial,
    device: str,
) -> tuple[str, str] | None:
    """Return why a trial must not be added to a mixture that takes it.

    Parameters
    ----------
    extractor : ModelExtractor
    mixture : Mixture
    grouping : Grouping
        What is proved already; a proof is added to it.
    extracted : ExtractedTrial
    device : str

    Returns
    -------
    (str, str) or None
        One of `hpo.executors.fused.mixing.ASPECTS` in which it must not differ, and the reason;
        None if it can be added.
    """
    anchor = mixture.largest
    differs = grouping.unproved(extracted, anchor, mixture.new_features(extracted))
    if not differs:
        return None
    plan = mixture.joint_plan(extracted)
    try:
        _prove(extractor, plan, anchor, extracted, device)
    except NotFusibleError as error:
        aspect = _cause(extractor, plan, anchor, extracted, device, differs)
        return aspect, str(error)
    grouping.add_proof(extracted, anchor)
    return None


def _cause(  # noqa: PLR0917
    extractor: ModelExtractor,
    plan: Plan,
    anchor: ExtractedTrial,
    extracted: ExtractedTrial,
    device: str,
    differs: Sequence[str],
) -> str:
    """Return the aspect to which it is due that two trials cannot be in one batch."""
    others = [aspect for aspect in differs if aspect != "batch_size"]
    if "batch_size" in differs and plan.accumulates:
        try:
            _prove(extractor, plan, anchor, extracted, device, batch_size=plan.batch_size)
        except NotFusibleError:
            pass
        else:
            return "batch_size"
    return others[0] if others else differs[0]


def _prove(
    extractor: ModelExtractor,
    plan: Plan,
    anchor: ExtractedTrial,
    added: ExtractedTrial,
    device: str,
    *,
    batch_size: int | None = None,
) -> None:
    """Check that two trials that differ in more than numbers are trained in one batch as alone.

    All that `hpo.executors.fused.proof.prove` checks beside that is the same in all trials of a
    family.

    Parameters
    ----------
    extractor : ModelExtractor
    plan : Plan
        Of a batch of these two.
    anchor, added : ExtractedTrial
    device : str
    batch_size : int or None
        That of both in the check, to see whether it is the sizes of minibatches that matter; None
        means their own.

    Raises
    ------
    NotFusibleError
        If something differs.
    """
    pair = [added, anchor]
    plans = [extracted.plan() for extracted in pair]
    if batch_size is not None:
        plan = replace(plan, batch_size=batch_size, accumulates=False)
        plans = [replace(own, batch_size=batch_size) for own in plans]
    ratio = max(own.batch_size for own in plans) // plan.batch_size
    train = extractor.arrays.train[0]
    rows = train[:: max(1, len(train) // (2 * N_ROWS * ratio))][: 2 * N_ROWS * ratio]
    held_out = some_held_out(extractor.arrays.held_out)

    def make_reference(own: Plan, member: ModelState, fold: int) -> NetReference:
        net = extractor.unfitted(pair[fold].trial, device)
        part = held_out.part(fold) if held_out else None
        return NetReference(net, own, member, fold, held_out=part, dtype=torch.float64)

    def after_epoch(models: FusedModels, losses: torch.Tensor) -> None:
        nets = {i: extracted.net for i, extracted in enumerate(pair)}
        end_epoch(models, losses, nets, held_out, added.scorings)

    def check(members: list[ModelState]) -> None:
        certify(
            plan,
            members,
            reference=make_reference,
            X=extractor.arrays.X[rows],
            y=extractor.arrays.y[rows],
            device=device,
            end_epoch=after_epoch,
            plans=plans,
        )

    members = [replace(extracted.member, progress=None) for extracted in pair]
    with RandomStream(derive_seed("fused", "proof"), device).active():
        try:
            check(members)
        except DivergedError:
            check([replace(m, numbers={**m.numbers, "lr": LR_IF_DIVERGED}) for m in members])

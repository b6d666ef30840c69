"""Trials of one batch that differ in more than numbers, and which trials may be in one."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace
from itertools import pairwise

from hpo.executors.fused.extract import ExtractedTrial
from hpo.fused import Plan, fits

__all__ = ["ASPECTS", "Grouping", "Mixture", "features_of"]

ASPECTS = ("sizes", "batch_size", "optimizer")
"""In what the models of a mixed batch may differ."""

MAX_PADDING = 4
"""Times as many weights as its smallest model the largest one of a batch may have.

The smaller ones are padded, so that on the average about half of the arithmetic is of use.
"""

N_WEIGHTS_SMALL = 40_000
"""Number of weights up to which padding costs less than another batch."""


def features_of(extracted: ExtractedTrial) -> dict[str, Hashable]:
    """Return what a trial has of each of the `ASPECTS`."""
    plan = extracted.member
    return {
        "sizes": extracted.structure.sizes,
        "batch_size": plan.batch_size,
        "optimizer": (plan.optimizer, tuple(sorted((plan.flags or {}).items()))),
    }


class Mixture:
    """What the trials of one family that are in a batch, or have been, have in common.

    Parameters
    ----------
    first : ExtractedTrial

    Attributes
    ----------
    largest : ExtractedTrial
        The trial in whose module all others fit.
    """

    def __init__(self, first: ExtractedTrial) -> None:
        self.largest = first
        self._keys = {first.key}
        self._sizes = {first.structure.sizes}
        self._batch_sizes = {first.member.batch_size or 1}
        self._fewest = first.structure.n_weights
        self._plan = first.plan()
        self._seen = set(features_of(first).items())

    @property
    def plan(self) -> Plan:
        """The plan of the batch: that of its trials, if they differ in numbers alone."""
        return self._plan

    def new_features(self, extracted: ExtractedTrial) -> list[str]:
        """Return the aspects in which a trial is other than all that were in the batch."""
        return [a for a, value in features_of(extracted).items() if (a, value) not in self._seen]

    def takes(self, extracted: ExtractedTrial) -> bool:
        """Return whether a trial can be added; a proof may still refuse it.

        Each minibatch must be a multiple of all smaller ones, and each model the leading part of
        all larger ones.
        """
        sizes = sorted(self._batch_sizes | {extracted.member.batch_size or 1})
        if any(b % a for a, b in pairwise(sizes)):
            return False
        n = extracted.structure.n_weights
        most = max(n, self.largest.structure.n_weights)
        if most > max(N_WEIGHTS_SMALL, MAX_PADDING * min(n, self._fewest)):
            return False
        return _fits(extracted, self.largest) or _fits(self.largest, extracted)

    def add(self, extracted: ExtractedTrial) -> bool:
        """Add a trial; return whether the plan is another one now."""
        self._seen |= set(features_of(extracted).items())
        if extracted.key in self._keys:
            return False
        self._keys.add(extracted.key)
        self._sizes.add(extracted.structure.sizes)
        self._batch_sizes.add(extracted.member.batch_size or 1)
        self._fewest = min(self._fewest, extracted.structure.n_weights)
        before, own = self._plan, extracted.plan()
        base = before
        if not _fits(extracted, self.largest):
            self.largest, base = extracted, own
        flags = {
            "mixed": True,
            "batch_size": min(self._batch_sizes),
            "accumulates": len(self._batch_sizes) > 1,
            "pads": len(self._sizes) > 1,
            "clips": before.clips or own.clips,
            "penalises": before.penalises or own.penalises,
        }
        changed = base is not before or any(getattr(before, n) != v for n, v in flags.items())
        if changed:
            self._plan = replace(base, **flags)  # type: ignore[arg-type]
        return changed

    def joint_plan(self, extracted: ExtractedTrial) -> Plan:
        """Return the plan of a batch of the largest trial and another one, which it takes."""
        pair = Mixture(self.largest)
        pair.add(extracted)
        return pair.plan


def _fits(small: ExtractedTrial, large: ExtractedTrial) -> bool:
    a, b = small.structure.shapes, large.structure.shapes
    return a.keys() == b.keys() and all(fits(a[name], b[name]) for name in a)


class Grouping:
    """What has been shown of the mixtures of each family: what can be, and what must not be.

    It holds for all batches of a study, whichever of its folds they train.
    """

    def __init__(self) -> None:
        self._apart: defaultdict[str, set[str]] = defaultdict(set)
        self._proved: set[tuple[str, str, Hashable]] = set()
        self._watched: set[tuple[str, str, Hashable]] = set()

    def unproved(
        self, extracted: ExtractedTrial, largest: ExtractedTrial, aspects: Sequence[str]
    ) -> list[str]:
        """Return in which of these aspects nothing is proved yet of a trial beside another one."""
        pairs = _pairs(extracted, largest)
        return [a for a in aspects if (extracted.family, a, pairs[a]) not in self._proved]

    def add_proof(self, extracted: ExtractedTrial, largest: ExtractedTrial) -> None:
        """Note that a trial is trained beside another one as it is alone."""
        self._proved |= {(extracted.family, *pair) for pair in _pairs(extracted, largest).items()}

    def watch(self, extracted: ExtractedTrial) -> bool:
        """Return whether a trial has something that the sentinel has not looked at; it does now."""
        features = {(extracted.family, *feature) for feature in features_of(extracted).items()}
        is_new = not features <= self._watched
        self._watched |= features
        return is_new

    def key(self, extracted: ExtractedTrial) -> str:
        """Return a key that trials share which may be in one batch."""
        apart = self._apart[extracted.family]
        own = {name: value for name, value in features_of(extracted).items() if name in apart}
        return f"{tuple(extracted.folds)} {extracted.family} {own}"

    def keep_apart(self, extracted: ExtractedTrial, aspect: str) -> None:
        """Put trials of this family that differ in an aspect into batches of their own."""
        self._apart[extracted.family].add(aspect)


def _pairs(extracted: ExtractedTrial, largest: ExtractedTrial) -> dict[str, Hashable]:
    """Return what a proof of two trials shows: of optimizers and minibatches, of any sizes."""
    features = features_of(extracted)
    return {**features, "sizes": frozenset({features["sizes"], largest.structure.sizes})}

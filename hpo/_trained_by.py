"""Describe how the trials of a study were trained."""

from collections import Counter
from collections.abc import Iterable, Mapping

from hpo.trial import TrialRecord

__all__ = ["asked_for_batches", "count_ways", "format_reasons", "format_trained_by"]


def count_ways(records: Iterable[TrialRecord]) -> Counter[str]:
    """Return how many trials were trained in which way, without interrupted and void ones."""
    return Counter(r.trained_by for r in records if r.trained_by and not r.interrupted)


def format_trained_by(counts: Mapping[str, int]) -> str:
    """Return ``"24 fused (eager), 6 process"``, the most frequent first."""
    return ", ".join(f"{n} {way}" for way, n in Counter(counts).most_common() if n > 0)


def format_reasons(records: Iterable[TrialRecord]) -> list[str]:
    """Return ``"6 process, because ..."`` for each reason why trials were not batched."""
    counts = Counter(
        f"{r.trained_by}, because {r.trained_by_reason}"
        for r in records
        if r.trained_by_reason and not r.interrupted
    )
    return [f"{n} {reason}" for reason, n in counts.most_common()]


def asked_for_batches(record: TrialRecord) -> bool:
    """Return whether a trial was given to an executor that trains batches where it can."""
    return bool(record.trained_by_reason) or record.trained_by.startswith("fused")

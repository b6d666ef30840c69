"""How the trials of a study were trained, in words."""

from collections import Counter
from collections.abc import Iterable, Mapping

from hpo.trial import TrialRecord

__all__ = ["asked_for_batches", "count_ways", "told_of_reasons", "told_of_ways"]


def count_ways(records: Iterable[TrialRecord]) -> Counter[str]:
    """Return how many trials were trained how; what was cut off or is void is not counted."""
    return Counter(r.trained_by for r in records if r.trained_by and not r.interrupted)


def told_of_ways(counts: Mapping[str, int]) -> str:
    """Return ``"24 fused (eager), 6 process"``, the most frequent first."""
    return ", ".join(f"{n} {way}" for way, n in Counter(counts).most_common() if n > 0)


def told_of_reasons(records: Iterable[TrialRecord]) -> list[str]:
    """Return ``"6 process, because ..."`` for each reason why trials were trained in no batch."""
    counts = Counter(
        f"{r.trained_by}, because {r.trained_by_reason}"
        for r in records
        if r.trained_by_reason and not r.interrupted
    )
    return [f"{n} {told}" for told, n in counts.most_common()]


def asked_for_batches(record: TrialRecord) -> bool:
    """Return whether a trial was given to an executor that trains batches where it can."""
    return bool(record.trained_by_reason) or record.trained_by.startswith("fused")

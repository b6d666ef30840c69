"""How the trials of a study ended, in words."""

from collections import Counter
from collections.abc import Iterable, Sequence

from hpo.trial import TrialRecord, TrialState

__all__ = ["failure_summary", "none_completed"]

N_GROUPS = 5
"""Number of different failures that a summary lists; the rest is counted."""


def failure_summary(records: Sequence[TrialRecord], *, raised: bool = False) -> str:
    """Return how many trials failed with which errors; empty if none did.

    Parameters
    ----------
    records : sequence of TrialRecord
        All trials of a study.
    raised : bool, default=False
        Whether to count only trials that raised, not those with a non-finite score.
    """
    failed = [
        record
        for record in records
        if record.state is TrialState.FAILED and not (raised and record.without_score)
    ]
    if not failed:
        return ""
    n_all = sum(not record.interrupted for record in records)
    head = f"All the {n_all}" if len(failed) == n_all else f"{len(failed)} of {n_all}"
    return f"{head} trials failed. {_grouped(failed, 'failed with')}"


def none_completed(name: str, records: Sequence[TrialRecord]) -> str:
    """Return why a study has no best trial: how its trials ended.

    Parameters
    ----------
    name : str
        Name of the study.
    records : sequence of TrialRecord
        All its trials.
    """
    if not records:
        return f"Study '{name}' has no trials yet, so there is no best one."
    counted = [record for record in records if not record.interrupted]
    if counted and all(record.state is TrialState.FAILED for record in counted):
        return failure_summary(records)
    states = Counter(str(record.state) for record in counted)
    counts = [f"{n} {state}" for state, n in states.most_common()]
    if len(counted) < len(records):
        counts.append(f"not counting {len(records) - len(counted)} interrupted")
    parts = [
        f"None of the {len(counted)} trials of study '{name}' is complete with a "
        f"finite score ({', '.join(counts)}), so there is no best one.",
        failure_summary(records),
        _grouped((r for r in records if r.state is TrialState.PRUNED), "pruned at"),
        "The budget did not last for a step: give more time."
        if any(record.out_of_budget for record in records)
        else "",
    ]
    return " ".join(part for part in parts if part)


def _grouped(records: Iterable[TrialRecord], verb: str) -> str:
    """Return ``"48 failed with: …; 2 failed with: …"``, the most frequent first."""
    counts = Counter(record.reason or "no reason given" for record in records)
    texts = [f"{n} {verb}: {reason.rstrip('.')}" for reason, n in counts.most_common(N_GROUPS)]
    rest = sum(n for _, n in counts.most_common()[N_GROUPS:])
    if rest:
        texts.append(f"{rest} {verb.rpartition(' ')[0]} otherwise")
    return "; ".join(texts) + "." if texts else ""

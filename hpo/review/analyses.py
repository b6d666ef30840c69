"""What analyses of the winner found, told and drawn from what is kept of it."""

from collections.abc import Iterator, Mapping
from typing import Any

from hpo._discovery import find, names
from hpo.analyses import BaseAnalysis
from hpo.result import StudyResult

__all__ = ["found_analyses", "told"]


def found_analyses(result: StudyResult) -> Iterator[tuple[str, BaseAnalysis | None, Any]]:
    """Yield name, analysis and data of each; the analysis is None where it is not known here."""
    known = names("hpo.analyses")
    for name, data in result.analyses.items():
        yield name, find("hpo.analyses", name, BaseAnalysis)() if name in known else None, data


def told(analysis: BaseAnalysis | None, data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the lines to print of an analysis: what it found, or why it found nothing."""
    if "error" in data:
        return [("not made", data["error"])]
    if analysis is None:
        return [("not told", "the analysis is not part of this hpo")]
    return analysis.tell(data)

"""What analyses of the winner found, told and drawn from what is kept of it."""

from collections.abc import Iterator, Mapping
from typing import Any

from hpo._discovery import find
from hpo.analyses import CLASS, BaseAnalysis
from hpo.exceptions import PluginError
from hpo.result import StudyResult

__all__ = ["found_analyses", "told"]


def found_analyses(result: StudyResult) -> Iterator[tuple[str, BaseAnalysis | None, Any]]:
    """Yield name, analysis and data of each; the analysis is None where it is not known here."""
    for name, data in result.analyses.items():
        yield name, _known(data.get(CLASS, name)), data


def _known(reference: str) -> BaseAnalysis | None:
    try:
        analysis: BaseAnalysis = find("hpo.analyses", reference, BaseAnalysis)()
    except (PluginError, TypeError):  # gone, or moved, since; or it needs arguments
        return None
    return analysis


def told(analysis: BaseAnalysis | None, data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the lines to print of an analysis: what it found, or why it found nothing."""
    if "error" in data:
        return [("not made", data["error"])]
    if analysis is None:
        where = f"{data[CLASS]} cannot be imported here" if CLASS in data else "hpo has none"
        return [("not shown", f"there is no such analysis: {where}")]
    return analysis.summarize(data)

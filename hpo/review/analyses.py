"""Read and describe the stored results of analyses of the winner."""

from collections.abc import Iterator, Mapping
from typing import Any

from hpo._discovery import find
from hpo.analyses import CLASS, BaseAnalysis
from hpo.exceptions import PluginError
from hpo.result import StudyResult

__all__ = ["found_analyses", "told"]


def found_analyses(result: StudyResult) -> Iterator[tuple[str, BaseAnalysis | None, Any]]:
    """Yield name, analysis and data of each analysis; the analysis is None if it is unknown."""
    for name, data in result.analyses.items():
        yield name, _load_analysis(data.get(CLASS, name)), data


def _load_analysis(reference: str) -> BaseAnalysis | None:
    try:
        analysis: BaseAnalysis = find("hpo.analyses", reference, BaseAnalysis)()
    except (PluginError, TypeError):  # it no longer exists, has moved, or needs arguments
        return None
    return analysis


def told(analysis: BaseAnalysis | None, data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return rows on an analysis: its results, or why there are none."""
    if "error" in data:
        return [("not made", data["error"])]
    if analysis is None:
        cause = f"{data[CLASS]} cannot be imported here" if CLASS in data else "hpo has none"
        return [("not shown", f"there is no such analysis: {cause}")]
    return analysis.summarize(data)

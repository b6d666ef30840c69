"""Colours and markers of figures, told apart by people who see colours differently.

The colours are those of Okabe and Ito (2008, "Color Universal Design"); scales are cividis. No
colour stands alone: markers or lines differ too.
"""

from hpo.trial import TrialState

__all__ = ["CURVES", "MARKERS", "SCALE", "STATES", "WINNER"]

STATES = {
    TrialState.COMPLETE: "#0072b2",
    TrialState.PRUNED: "#e69f00",
    TrialState.FAILED: "#d55e00",
    TrialState.RUNNING: "#009e73",
    TrialState.INTERRUPTED: "#8c8c8c",
}
"""Colour of a trial by its state."""

MARKERS = {
    TrialState.COMPLETE: "o",
    TrialState.PRUNED: "D",
    TrialState.FAILED: "X",
    TrialState.RUNNING: "s",
    TrialState.INTERRUPTED: "P",
}
"""Marker of a trial by its state, as matplotlib names it."""

WINNER = "#000000"

CURVES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7a7a00", "#000000")
"""Colours of groups; the yellow of the palette is darker, to be seen on white."""

SCALE = "cividis"
"""Colour scale of numbers."""

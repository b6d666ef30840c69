"""The figure that the plots return: one that a notebook shows by itself."""

import io

from matplotlib import figure

__all__ = ["Figure"]


class Figure(figure.Figure):
    """A matplotlib figure that is made without pyplot, and shown all the same.

    A notebook shows figures of pyplot alone, unless they say how.
    """

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue()

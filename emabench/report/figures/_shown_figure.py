"""A figure that a notebook shows, whether or not pyplot is loaded."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


class ShownFigure(Figure):
    """A figure that pyplot does not know, so that nothing keeps it and nothing else changes.

    Notebooks learn from pyplot how to show figures. This one shows itself.
    """

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()

"""A figure that a notebook shows, whether or not pyplot is loaded."""

from __future__ import annotations

import io

from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.text import Text


class ShownFigure(Figure):
    """A figure that pyplot does not know, so that nothing keeps it and nothing else changes.

    Notebooks learn from pyplot how to show figures. This one shows itself.
    """

    def draw(self, renderer: RendererBase) -> None:
        """Draw it; names and conditions are text, whatever signs they have, and no formulas."""
        for text in self.findobj(Text):
            text.set_parse_math(False)
        super().draw(renderer)

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()

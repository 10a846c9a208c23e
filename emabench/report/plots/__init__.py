"""Pictures: PNG, SVG or PDF by matplotlib, readable in grey and by colour-blind readers."""

from emabench.report.plots.sheet import check_path
from emabench.report.plots.stability import draw_stability

__all__ = ["check_path", "draw_stability"]

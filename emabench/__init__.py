"""emabench: what does a momentum encoder cost, and what does it buy?"""

from emabench.version import __version__

__all__ = ["__version__"]

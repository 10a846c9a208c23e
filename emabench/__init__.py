"""emabench: what does a momentum encoder cost, and what does it buy?"""

__version__ = "0.1.0"

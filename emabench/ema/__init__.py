"""The target network and its decay."""

from emabench.ema.schedule import DecaySchedule
from emabench.ema.target import TargetNetwork

__all__ = ["DecaySchedule", "TargetNetwork"]

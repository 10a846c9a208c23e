"""The target network, averaged or frozen, and its decay."""

from emabench.ema.frozen_target import FrozenTarget
from emabench.ema.schedule import DecaySchedule
from emabench.ema.target import TargetNetwork

__all__ = ["DecaySchedule", "FrozenTarget", "TargetNetwork"]

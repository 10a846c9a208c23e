"""The target network, averaged or frozen; its decay; the average kept for the evaluation."""

from emabench.ema.frozen_target import FrozenTarget
from emabench.ema.schedule import DecaySchedule
from emabench.ema.target import TargetNetwork
from emabench.ema.weight_average import WeightAverage

__all__ = ["DecaySchedule", "FrozenTarget", "TargetNetwork", "WeightAverage"]

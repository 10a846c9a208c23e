"""The target network and its decay, and the average that is kept for the evaluation."""

from emabench.ema.schedule import DecaySchedule
from emabench.ema.target import TargetNetwork
from emabench.ema.weight_average import WeightAverage

__all__ = ["DecaySchedule", "TargetNetwork", "WeightAverage"]

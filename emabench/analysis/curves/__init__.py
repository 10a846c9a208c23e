"""What the curves of trainings say: how gradients fluctuate, and what predicts an accuracy."""

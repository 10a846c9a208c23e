"""Evaluation of frozen backbones: features, nearest neighbours, a linear probe."""

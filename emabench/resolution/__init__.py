"""Settles what a raw spec leaves open, and checks it, before anything is run.

``experiment.resolve`` puts the pieces together; the pretraining is settled first.
"""

"""Figures over several tasks at once, such as data sets and methods."""

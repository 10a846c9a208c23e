"""Weights of other programs: their files are read as data, and a backbone is found in them."""

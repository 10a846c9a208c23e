"""The version of the language of specs."""

SPEC_VERSION = 1
"""Grows when a field changes its meaning or a new one cannot be ignored. A spec of a newer version
is refused, and a worker leaves queued jobs of one alone."""

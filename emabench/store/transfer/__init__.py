"""Stores as wholes: bundles, copies, checks and upgrades."""

"""Engines: who works on the jobs of a store."""

"""Runs as records: everything that is read of them."""

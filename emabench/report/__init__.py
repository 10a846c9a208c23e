"""Reports: comparisons with their statistics, as tables and JSON; no torch."""

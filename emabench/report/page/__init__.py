"""The page that a colleague opens in a browser: one file that needs nothing else."""

"""Looking at a study more than once, and saying beforehand what a look will cost and may tell."""

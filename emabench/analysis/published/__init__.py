"""What others published, and which of it lies nearest to a run."""

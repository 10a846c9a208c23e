"""From grids, studies, evaluations and benches to planned runs."""

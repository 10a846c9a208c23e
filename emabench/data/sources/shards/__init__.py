"""Data sets in few large files that hold encoded images."""

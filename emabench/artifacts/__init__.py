"""The files of jobs: where they lie, what they take, and which nobody needs."""

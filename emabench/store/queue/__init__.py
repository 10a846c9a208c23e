"""The queue in the store: what waits, who works on it, and how it ends."""

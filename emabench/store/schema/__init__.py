"""The schema: its tables, its version, and its migrations."""

"""From a path or URL to an open database, SQLite or PostgreSQL."""

"""What a terminal sees: tables, bars, pictures written, pages."""

"""What the reference takes from the code: each module writes the Markdown of one subject."""

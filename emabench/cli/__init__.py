"""The command line: opens, calls, prints; the logic lives on the floors below."""

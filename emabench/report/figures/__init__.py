"""Pictures: the numbers of each, and their drawing."""

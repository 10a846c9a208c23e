"""Decoded images, kept or read again, and what is known of them."""

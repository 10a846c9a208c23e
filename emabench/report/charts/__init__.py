"""What a picture shows, as plain values: drawn by ``report.plots`` and by the page."""

"""What is served over HTTP, and to whom."""

"""Measures how fast and how small qSticky is; `make bench` runs it."""

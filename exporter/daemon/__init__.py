"""The schedule-driven loop, and what it runs."""

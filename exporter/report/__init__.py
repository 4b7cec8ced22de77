"""The readers of outcomes: log, metrics, status.json and the board behind the page."""

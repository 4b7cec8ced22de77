"""One check of one tunnel: observe, decide, act, verify."""

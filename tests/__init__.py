"""All tests of qSticky."""

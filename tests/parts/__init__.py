"""The real servers that tests run against, brought from Debian's packages without root."""

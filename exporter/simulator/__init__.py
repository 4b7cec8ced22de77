"""A faithful fake Gluetun and qBittorrent, for the demo and the tests."""

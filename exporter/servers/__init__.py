"""All that talks to Gluetun and qBittorrent."""

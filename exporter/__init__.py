"""qSticky keeps qBittorrent's listening port equal to the port that Gluetun's VPN forwards."""

__version__ = "2.0.0"
HOME = "https://github.com/qsticky/qsticky"

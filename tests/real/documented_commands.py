"""What the documentation's quick commands print, on a qSticky that is in sync."""

PRINTS = {
    "qsticky check": "✓",
    "qsticky config": "CHECK_INTERVAL",
    "qsticky config --check FILE": "no mistakes",
    "qsticky config --check qsticky.yaml": "no mistakes",
    "qsticky healthcheck": "healthy: in_sync",
    "qsticky notify": "✓ URL 1 of NOTIFY_URLS (json://…) accepted the notification",
    "qsticky once": "Initial status - Gluetun: ✓, qBit: ✓",
    "qsticky healthcheck && curl -fsS -o /dev/null https://hc-ping.com/YOUR_ID": "in_sync",
    "curl -s http://localhost:9809/metrics | grep qsticky_port_in_sync": "} 1.0",
    'curl -s http://HOST:9809/metrics | grep -E "forwarded_port|listen_port"': "listen_port{",
    "curl -s http://HOST:9809/metrics | grep last_attempt": "last_attempt_timestamp_seconds{",
    'curl -s http://HOST:9809/metrics | grep operation_failures | grep -v " 0.0"': "# HELP",
    "curl -sS http://HOST:9809/-/healthy": "healthy",
    "wget -qO- --post-data= http://HOST:9809/-/reload": "",
}
ENDLESS = {"qsticky demo": "Initial status - Gluetun: ✓, qBit: ✓"}
"""These run until Ctrl-C."""

MAKES = {
    "cp .env.example .env": ".env",
    "mkdir -m 700 secrets": "secrets",
    "printf '%s' 'YOUR KEY' > secrets/wireguard_private_key": "secrets/wireguard_private_key",
    "printf '%s' 'YOUR PASSWORD' > secrets/qbittorrent_pass": "secrets/qbittorrent_pass",
    "openssl rand -hex 16 | tr -d '\\n' > secrets/gluetun_apikey": "secrets/gluetun_apikey",
    (
        'sed "s/YOUR_API_KEY/$(cat secrets/gluetun_apikey)/" deploy/gluetun/config.toml '
        "> secrets/gluetun_config.toml"
    ): "secrets/gluetun_config.toml",
}
"""The files that compose.yaml asks for, in their order."""

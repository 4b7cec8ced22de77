"""The settings of a simulated qBittorrent, as its API reads and sets them."""

from exporter.simulator.dialect import port_number
from exporter.simulator.versions import Traits


class Preferences(dict[str, object]):
    """What is stored, whether or not it is in force: a value that makes no sense is stored, too."""

    def __init__(self, traits: Traits, first: dict[str, object]) -> None:
        super().__init__(_defaults(traits) | first)
        self.unsaved = True
        """From 5.2 on, cookies are sent again after each change."""
        self._traits = traits
        self._random_port = False
        if "current_interface_name" in self:
            self["current_interface_name"] = first["current_network_interface"]

    @property
    def listening_port(self) -> int:
        """The port that is set."""
        return int(str(self["listen_port"]))

    @property
    def random_port(self) -> bool:
        """Whether the system chooses the port; up to 4.3 independent of the port that is set."""
        return self._random_port if self._traits.old else self.listening_port == 0

    @property
    def binding(self) -> tuple[str, int]:
        """The interface and the port to listen on; a change of either closes all sockets."""
        return str(self["current_network_interface"]), self.listening_port

    def shown(self) -> dict[str, object]:
        """What app/preferences tells."""
        return self | {"random_port": self.random_port}

    def store(self, wanted: dict[str, object]) -> int | None:
        """Take over the settings that are known; returns the port that was set, if one was."""
        former = dict(self)
        port = port_number(wanted["listen_port"]) if "listen_port" in wanted else None
        if "random_port" in wanted and self._traits.old:
            self._random_port = wanted["random_port"] is True
        elif wanted.get("random_port") is True:
            port = 0
        if port is not None:
            self["listen_port"] = port
        for name, value in wanted.items():
            if name not in ("listen_port", "random_port") and name in self:
                self[name] = value
        self.unsaved = self.unsaved or former != self
        return port


def _defaults(traits: Traits) -> dict[str, object]:
    """Return a part of the real keys, each secret one filled."""
    preferences: dict[str, object] = {
        "add_trackers": "",
        "alt_dl_limit": 10240,
        "alt_up_limit": 10240,
        "anonymous_mode": False,
        "async_io_threads": 10,
        "banned_IPs": "",
        "bypass_auth_subnet_whitelist": "",
        "bypass_auth_subnet_whitelist_enabled": False,
        "current_interface_address": "",
        "dht": False,
        "dl_limit": 0,
        "dyndns_domain": "changeme.dyndns.org",
        "dyndns_enabled": False,
        "dyndns_password": "canary-dyndns-password",
        "dyndns_service": 0,
        "dyndns_username": "canary-dyndns-user",
        "embedded_tracker_port": 9000,
        "encryption": 0,
        "locale": "en",
        "lsd": False,
        "mail_notification_auth_enabled": True,
        "mail_notification_email": "canary-mail@example.com",
        "mail_notification_enabled": True,
        "mail_notification_password": "canary-mail-password",
        "mail_notification_sender": "qBittorrent_notification@example.com",
        "mail_notification_smtp": "smtp.example.com",
        "mail_notification_username": "canary-mail-user",
        "max_connec": 500,
        "max_uploads": 20,
        "outgoing_ports_max": 0,
        "outgoing_ports_min": 0,
        "pex": False,
        "proxy_auth_enabled": True,
        "proxy_ip": "0.0.0.0",  # noqa: S104 - a setting, not an address to bind
        "proxy_password": "canary-proxy-password",
        "proxy_port": 8080,
        "proxy_username": "canary-proxy-user",
        "save_path": "/downloads/",
        "up_limit": 0,
        "upnp": False,
        "upnp_lease_duration": 0,
        "web_ui_clickjacking_protection_enabled": True,
        "web_ui_csrf_protection_enabled": True,
        "web_ui_domain_list": "*",
        "web_ui_host_header_validation_enabled": True,
        "web_ui_https_cert_path": "",
        "web_ui_https_key_path": "",
        "web_ui_secure_cookie_enabled": True,
        "web_ui_upnp": False,
    }
    if not traits.old:
        preferences |= {"reannounce_when_address_changed": False}
    if traits.qt6:
        preferences |= {"current_interface_name": "", "ssl_enabled": False, "ssl_listen_port": 4320}
    if traits.modern:
        preferences |= {"web_ui_api_key": "", "web_ui_sessions_count_limit": 15}
    return preferences

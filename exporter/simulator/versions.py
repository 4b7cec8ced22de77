"""In what the simulated qBittorrent's versions differ."""

from dataclasses import dataclass
from typing import Literal, get_args

from exporter.simulator.listening import WORDS, WORDS_4_2, Words

Version = Literal["4.2.5", "4.5.2", "5.1.0", "5.3.0"]
VERSIONS: tuple[Version, ...] = get_args(Version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """In what one version differs from another."""

    version: Version
    api: str
    build: dict[str, str | int]
    words: Words = WORDS
    # 4.2.5 sends errors without a body, and has no list of methods
    old: bool = False
    qt6: bool = True
    # from 5.2 on: 204 and 401 on login, API key, basic authentication, cookie named by port
    modern: bool = False


TRAITS: dict[Version, Traits] = {
    "4.2.5": Traits(
        version="4.2.5",
        api="2.5.1",
        build={"libtorrent": "1.2.9.0", "openssl": "1.1.1w", "qt": "5.12.5", "boost": "1.71.0"},
        words=WORDS_4_2,
        old=True,
        qt6=False,
    ),
    "4.5.2": Traits(
        version="4.5.2",
        api="2.8.19",
        build={"libtorrent": "2.0.8.0", "openssl": "3.0.20", "qt": "5.15.8", "boost": "1.74.0"},
        qt6=False,
    ),
    "5.1.0": Traits(
        version="5.1.0",
        api="2.11.4",
        build={"libtorrent": "2.0.11.0", "openssl": "3.5.9", "qt": "6.8.2", "boost": "1.83.0"},
    ),
    "5.3.0": Traits(
        version="5.3.0",
        api="2.16.2",
        build={"libtorrent": "2.0.11.0", "openssl": "3.5.9", "qt": "6.8.2", "boost": "1.83.0"},
        modern=True,
    ),
}


def preferences_of(traits: Traits) -> dict[str, object]:
    """What app/preferences tells besides: a part of the real keys, each secret one filled."""
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

"""The one table of settings: the parser, error texts, `qsticky config` and the docs read it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from exporter.config.kinds import (
    BASE_PATH,
    BOOLEAN,
    CA_FILE,
    FILE,
    HOST,
    HOST_AND_PATH,
    HOSTS,
    KEY,
    LISTEN_ADDRESS,
    PASSWORD,
    PATH,
    PORT,
    PORT_URL,
    PROXY,
    TEXT,
    URLS,
    Kind,
    choice,
    count,
    safe_choice,
    safe_words,
    seconds,
)
from exporter.model import RebindPolicy, Topic


class Setting(NamedTuple):
    """One environment variable and, where it is `per_tunnel`, one key of a tunnel in YAML."""

    name: str
    kind: Kind
    default: str
    help: str
    per_tunnel: bool = False

    @property
    def yaml_path(self) -> tuple[str, ...]:
        """Where the setting is in a tunnel of the YAML file; empty: environment only."""
        if not self.per_tunnel:
            return ()
        section, _, key = self.name.lower().partition("_")
        return (section, key) if section in ("gluetun", "qbittorrent") else (self.name.lower(),)


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "QBITTORRENT_HOST",
        HOST_AND_PATH,
        "gluetun",
        "Host of the Web UI; the Gluetun container if qBittorrent shares its network.",
        per_tunnel=True,
    ),
    Setting("QBITTORRENT_PORT", PORT, "8080", "Port of the Web UI.", per_tunnel=True),
    Setting(
        "QBITTORRENT_PATH",
        BASE_PATH,
        "",
        "Path of the Web UI where a reverse proxy gives it one, such as `/qbittorrent`.",
        per_tunnel=True,
    ),
    Setting("QBITTORRENT_USER", TEXT, "admin", "User name of the Web UI.", per_tunnel=True),
    Setting("QBITTORRENT_PASS", PASSWORD, "adminadmin", "Password of the Web UI.", per_tunnel=True),
    Setting(
        "QBITTORRENT_API_KEY",
        KEY,
        "",
        "API key (qBittorrent 5.2 and later), instead of user name and password.",
        per_tunnel=True,
    ),
    Setting("QBITTORRENT_HTTPS", BOOLEAN, "false", "Use HTTPS for the Web UI.", per_tunnel=True),
    Setting(
        "QBITTORRENT_VERIFY_SSL",
        BOOLEAN,
        "false",
        "Check the Web UI's certificate.",
        per_tunnel=True,
    ),
    Setting(
        "QBITTORRENT_CA_FILE",
        CA_FILE,
        "",
        "Certificate authority (PEM) for the Web UI's certificate; switches checking on.",
        per_tunnel=True,
    ),
    Setting("GLUETUN_HOST", HOST, "gluetun", "Host of Gluetun's control server.", per_tunnel=True),
    Setting("GLUETUN_PORT", PORT, "8000", "Port of Gluetun's control server.", per_tunnel=True),
    Setting(
        "GLUETUN_AUTH_TYPE",
        choice("apikey", "basic", "none"),
        "apikey",
        "How to authenticate with the control server.",
        per_tunnel=True,
    ),
    Setting("GLUETUN_APIKEY", KEY, "", "API key of the control server.", per_tunnel=True),
    Setting("GLUETUN_USERNAME", TEXT, "", "User name, with basic authentication.", per_tunnel=True),
    Setting(
        "GLUETUN_PASSWORD", PASSWORD, "", "Password, with basic authentication.", per_tunnel=True
    ),
    Setting(
        "GLUETUN_HTTPS",
        BOOLEAN,
        "false",
        "Use HTTPS (with a proxy in front of Gluetun).",
        per_tunnel=True,
    ),
    Setting(
        "GLUETUN_VERIFY_SSL", BOOLEAN, "true", "Check that proxy's certificate.", per_tunnel=True
    ),
    Setting(
        "GLUETUN_CA_FILE",
        CA_FILE,
        "",
        "Certificate authority (PEM) for that proxy's certificate; switches checking on.",
        per_tunnel=True,
    ),
    Setting(
        "GLUETUN_PORT_INDEX",
        count(0, 31),
        "0",
        "Which of several forwarded ports to use; 0 is the first.",
        per_tunnel=True,
    ),
    Setting(
        "REBIND",
        choice(*RebindPolicy),
        "auto",
        "Reopen qBittorrent's socket after a VPN reconnect with the same port: "
        "auto = unless it reopens by itself.",
        per_tunnel=True,
    ),
    Setting(
        "RESTART_VPN_AFTER",
        seconds(300, 86400, or_never=True),
        "0",
        "Restart the VPN after it has been up this long without a forwarded port, at most once an "
        'hour; the role in Gluetun needs `"PUT /v1/vpn/status"`. 0 = never.',
        per_tunnel=True,
    ),
    Setting(
        "REANNOUNCE_AFTER_CHANGE",
        BOOLEAN,
        "false",
        "Announce all torrents to their trackers once a new port is open, at most every 5 minutes.",
        per_tunnel=True,
    ),
    Setting(
        "DISABLE_UPNP",
        BOOLEAN,
        "false",
        "Switch off UPnP and NAT-PMP in qBittorrent: in a VPN they can announce another port.",
        per_tunnel=True,
    ),
    Setting(
        "REACHABILITY_URL",
        PORT_URL,
        "",
        "Service that tries to connect from outside, asked for `{port}` and, where it is in the "
        "URL, `{ip}`, the VPN's public address; none = nobody is asked.",
        per_tunnel=True,
    ),
    Setting(
        "REACHABILITY_PROXY",
        PROXY,
        "",
        "HTTP proxy on the way there, such as Gluetun's own, `http://gluetun:8888`, for a service "
        "that looks back at whoever asks.",
        per_tunnel=True,
    ),
    Setting(
        "REACHABILITY_INTERVAL",
        seconds(60, 86400),
        "600",
        "Seconds between two questions to that service.",
        per_tunnel=True,
    ),
    Setting("CHECK_INTERVAL", seconds(1, 3600), "30", "Seconds between two checks."),
    Setting(
        "REQUEST_TIMEOUT",
        seconds(0.1, 60),
        "5",
        "Timeout in seconds, for connecting and again for the whole response.",
    ),
    Setting(
        "LOG_LEVEL",
        safe_choice(
            *("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
            aliases={"warn": "WARNING", "fatal": "CRITICAL", "notset": "DEBUG"},
        ),
        "INFO",
        "What to log.",
    ),
    Setting("LOG_FORMAT", safe_choice("text", "json"), "text", "How to log it."),
    Setting(
        "HEALTH_FILE",
        PATH,
        "",
        "Where status.json goes: `/app/health/status.json` where that folder exists, else "
        "`$STATE_DIRECTORY/status.json`, else `$XDG_STATE_HOME/qsticky/status.json`.",
    ),
    Setting(
        "WEB_LISTEN_ADDRESS",
        LISTEN_ADDRESS,
        "0.0.0.0:9809",
        "Where the status page and the metrics are served; empty = nowhere.",
    ),
    Setting(
        "WEB_USERS_FILE",
        FILE,
        "",
        "Users of the web server: a YAML file of `user: bcrypt hash`, or what `htpasswd -nBC 10 "
        "NAME` prints; none = open to all. Gluetun's up command then posts to "
        "`http://NAME:PASSWORD@qsticky:9809/-/sync`.",
    ),
    Setting(
        "WEB_ALLOWED_HOSTS",
        HOSTS,
        "",
        "Names under which a browser may ask the web server for a check or a reload, besides "
        "addresses and the names of a local network.",
    ),
    Setting(
        "WEB_ENABLE_LIFECYCLE",
        BOOLEAN,
        "false",
        "Let `POST /-/reload` load the configuration again, as SIGHUP does.",
    ),
    Setting(
        "NOTIFY_URLS",
        URLS,
        "",
        "Where to send notifications: URLs of Apprise, such as `ntfys://ntfy.sh/YOUR_TOPIC`.",
    ),
    Setting("NOTIFY_ON", safe_words(*Topic), "problem,recovery", "What to send them about."),
    Setting("QSTICKY_CONFIG", FILE, "", "A YAML file with a list of `tunnels`."),
)

BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}


def meant_by(variable: str) -> str:
    """Return the variable that QBITTORRENT_PASSWORD, GLUETUN_PROT and so on are meant for.

    Empty where it is a variable of qSticky, or nothing like one.
    """
    if variable in _VARIABLES:
        return ""
    if variable.startswith("FILE__"):  # as the images of linuxserver.io have it
        variable = f"{variable.removeprefix('FILE__')}_FILE"
    if other := _BY_SPELLING.get(_spelling(variable.removeprefix("QSTICKY_"))):
        return other
    for prefix in filter(variable.startswith, _OUR_PREFIXES):
        keys = [name.removeprefix(prefix) for name in _VARIABLES if name.startswith(prefix)]
        if key := _closest(variable.removeprefix(prefix), keys, _CLOSE):
            return f"{prefix}{key}"
    alike = [name for name in _VARIABLES if _share_an_end(name, variable)]
    return _closest(variable, alike, _VERY_CLOSE)


def _share_an_end(name: str, other: str) -> bool:
    return abs(len(name) - len(other)) <= 2 and (name[0] == other[0] or name[-1] == other[-1])


def _closest(word: str, words: list[str], ratio: float) -> str:
    if not words:
        return ""
    import difflib  # most environments have no such word

    return next(iter(difflib.get_close_matches(word, words, 1, ratio)), "")


def _spelling(variable: str) -> str:
    variable = re.sub(r"^QB[ITOREN]*_", "QBITTORRENT_", variable)
    for word, short in _SAME_WORDS.items():
        variable = variable.replace(word, short)
    return re.sub(r"[^A-Z0-9]", "", variable)


_OUR_PREFIXES = ("GLUETUN_", "QBITTORRENT_", "QSTICKY_", "REACHABILITY_")
_CLOSE = 0.75
"""A letter too many, or two that changed places; GLUETUN_SERVICE_HOST of Kubernetes is far off."""
_VERY_CLOSE = 0.92
"""The same for whole names, where most letters are equal anyway."""
_SAME_WORDS = {
    **{"PASSWORD": "PASS", "USERNAME": "USER", "AUTH_TYPE": "AUTH", "_URL": "_HOST"},
    **{"_SSL": "_HTTPS", "_TLS": "_HTTPS"},
}
_VARIABLES = [f"{name}{suffix}" for suffix in ("", "_FILE") for name in BY_NAME]
_BY_SPELLING = {_spelling(variable): variable for variable in reversed(_VARIABLES)}

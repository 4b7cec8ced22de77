"""The one table of options: parser, error texts, `qsticky config` and the docs read it.

It reads no value itself: `config.py` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from exporter.healthcheck import IMAGE_FOLDER, status_path


class Kind(StrEnum):
    """What a value has to look like."""

    TEXT = "text"
    HOST = "a host name or address"
    PORT = "a port, 1 to 65535"
    SECONDS = "seconds"
    COUNT = "a whole number"
    BOOLEAN = "true or false"
    CHOICE = "one of"
    FILE = "the path of a readable file"
    CA_FILE = "the path of a readable PEM file"
    PATH = "the path of a file"
    LISTEN_ADDRESS = "host:port, :port, or empty for none"


@dataclass(frozen=True, slots=True)
class Setting:
    """One option: an environment variable and, with a `yaml_path`, a key of a tunnel in YAML."""

    name: str
    kind: Kind
    default: str
    help: str
    secret: bool = False
    is_key: bool = False
    """Whether it is sent as a header of HTTP, which can't have blanks at its ends."""
    per_tunnel: bool = False
    choices: tuple[str, ...] = ()
    minimum: float = 0
    maximum: float = 0
    zero_means_never: bool = False
    """Whether 0 is a right value although it is below the minimum."""
    empty_means_none: bool = False
    """Whether an empty variable is a value of its own and not the same as an unset one."""

    @property
    def yaml_path(self) -> tuple[str, ...]:
        """Where the option stands in a tunnel of the YAML file; empty: environment only."""
        if not self.per_tunnel:
            return ()
        section, _, key = self.name.lower().partition("_")
        return (section, key) if section in ("gluetun", "qbittorrent") else (self.name.lower(),)

    @property
    def expected(self) -> str:
        """What a right value looks like, in words."""
        if self.kind is Kind.CHOICE:
            return "one of " + ", ".join(self.choices)
        if self.kind in (Kind.SECONDS, Kind.COUNT):
            never = ", or 0 for never" if self.zero_means_never else ""
            return f"{self.kind.value}, {self.minimum:g} to {self.maximum:g}{never}"
        return self.kind.value


def _tunnel(  # noqa: PLR0913  # a row of the table below, with keywords
    name: str,
    kind: Kind,
    default: str,
    help_: str,
    *,
    secret: bool = False,
    is_key: bool = False,
    choices: tuple[str, ...] = (),
    minimum: float = 0,
    maximum: float = 0,
    zero_means_never: bool = False,
) -> Setting:
    return Setting(
        name,
        kind,
        default,
        help_,
        secret,
        is_key,
        per_tunnel=True,
        choices=choices,
        minimum=minimum,
        maximum=maximum,
        zero_means_never=zero_means_never,
    )


SETTINGS: tuple[Setting, ...] = (
    _tunnel("QBITTORRENT_HOST", Kind.HOST, "gluetun", "qBittorrent's host; behind Gluetun, its."),
    _tunnel("QBITTORRENT_PORT", Kind.PORT, "8080", "Port of qBittorrent's Web UI."),
    _tunnel("QBITTORRENT_USER", Kind.TEXT, "admin", "qBittorrent's user name."),
    _tunnel("QBITTORRENT_PASS", Kind.TEXT, "adminadmin", "qBittorrent's password.", secret=True),
    _tunnel(
        "QBITTORRENT_API_KEY",
        Kind.TEXT,
        "",
        "API key (qBittorrent 5.2 and later), instead of user name and password.",
        secret=True,
        is_key=True,
    ),
    _tunnel("QBITTORRENT_HTTPS", Kind.BOOLEAN, "false", "Use HTTPS for the Web UI."),
    _tunnel("QBITTORRENT_VERIFY_SSL", Kind.BOOLEAN, "false", "Check the Web UI's certificate."),
    _tunnel(
        "QBITTORRENT_CA_FILE",
        Kind.CA_FILE,
        "",
        "Certificate authority (PEM) for the Web UI's certificate; switches checking on.",
    ),
    _tunnel("GLUETUN_HOST", Kind.HOST, "gluetun", "Host of Gluetun's control server."),
    _tunnel("GLUETUN_PORT", Kind.PORT, "8000", "Port of Gluetun's control server."),
    _tunnel(
        "GLUETUN_AUTH_TYPE",
        Kind.CHOICE,
        "apikey",
        "How to authenticate with the control server.",
        choices=("apikey", "basic", "none"),
    ),
    _tunnel(
        "GLUETUN_APIKEY",
        Kind.TEXT,
        "",
        "API key of the control server.",
        secret=True,
        is_key=True,
    ),
    _tunnel("GLUETUN_USERNAME", Kind.TEXT, "", "User name, with basic authentication."),
    _tunnel("GLUETUN_PASSWORD", Kind.TEXT, "", "Password, with basic authentication.", secret=True),
    _tunnel("GLUETUN_HTTPS", Kind.BOOLEAN, "false", "Use HTTPS (with a proxy before Gluetun)."),
    _tunnel("GLUETUN_VERIFY_SSL", Kind.BOOLEAN, "true", "Check that proxy's certificate."),
    _tunnel(
        "GLUETUN_CA_FILE",
        Kind.CA_FILE,
        "",
        "Certificate authority (PEM) for that proxy's certificate; switches checking on.",
    ),
    _tunnel(
        "GLUETUN_PORT_INDEX",
        Kind.COUNT,
        "0",
        "Which of several forwarded ports to use; 0 is the first.",
        maximum=31,
    ),
    _tunnel(
        "REBIND",
        Kind.CHOICE,
        "auto",
        "Re-open qBittorrent's socket after a VPN reconnect with the same port: "
        "auto = where its libtorrent needs it.",
        choices=("auto", "always", "never"),
    ),
    _tunnel(
        "RESTART_VPN_AFTER",
        Kind.SECONDS,
        "0",
        "Restart the VPN after so many seconds without a port although it runs, at most once an "
        'hour; the role in Gluetun needs `"PUT /v1/vpn/status"`. 0 = never.',
        minimum=300,
        maximum=86400,
        zero_means_never=True,
    ),
    _tunnel(
        "REANNOUNCE_AFTER_CHANGE",
        Kind.BOOLEAN,
        "false",
        "Announce all torrents to their trackers once a new port is open, at most every 5 minutes.",
    ),
    Setting(
        "CHECK_INTERVAL", Kind.SECONDS, "30", "Seconds between two checks.", minimum=1, maximum=3600
    ),
    Setting(
        "REQUEST_TIMEOUT",
        Kind.SECONDS,
        "5",
        "Seconds that connecting and the whole answer may each take.",
        minimum=0.1,
        maximum=60,
    ),
    Setting(
        "LOG_LEVEL",
        Kind.CHOICE,
        "INFO",
        "What to log.",
        choices=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
    ),
    Setting("LOG_FORMAT", Kind.CHOICE, "text", "How to log it.", choices=("text", "json")),
    Setting(
        "HEALTH_FILE",
        Kind.PATH,
        "",
        "Where status.json goes: `/app/health/status.json` where that folder exists, else "
        "`$STATE_DIRECTORY/status.json`, else `$XDG_STATE_HOME/qsticky/status.json`.",
    ),
    Setting(
        "WEB_LISTEN_ADDRESS",
        Kind.LISTEN_ADDRESS,
        "0.0.0.0:9809",
        "Where the status page and the metrics are served; empty = nowhere.",
        empty_means_none=True,
    ),
    Setting(
        "WEB_USERS_FILE",
        Kind.FILE,
        "",
        "Users of the web server, a YAML file of `user: bcrypt hash`; none = open to all.",
    ),
    Setting(
        "WEB_ENABLE_LIFECYCLE",
        Kind.BOOLEAN,
        "false",
        "Let `POST /-/reload` load the configuration again, as SIGHUP does.",
    ),
    Setting("QSTICKY_CONFIG", Kind.FILE, "", "A YAML file with a list of `tunnels`."),
)

BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}


def health_file(environ: Mapping[str, str], image_folder: Path = Path(IMAGE_FOLDER)) -> Path:
    """Where status.json is, whether it exists or not."""
    return Path(status_path(environ, str(image_folder)))

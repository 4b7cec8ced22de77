"""From environment, secret files and YAML to one frozen Config, or all mistakes at once.

A value comes from, in this order: the tunnel's entry in the YAML file, the variable, the file
named by `NAME_FILE` (secrets only), `/run/secrets/<name in lower case>` (secrets only), the
default. An empty variable counts as not set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from exporter.config.kinds import check, is_true, read_text, why
from exporter.config.secret import Secret, trimmed
from exporter.config.settings import BY_NAME, Setting, health_file
from exporter.config.tunnels_file import NO_FILE, Entry, read_tunnels
from exporter.errors import ConfigError
from exporter.model import RebindPolicy

T = TypeVar("T")

RUN_SECRETS = Path("/run/secrets")


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is and how to reach it."""

    host: str
    port: int
    https: bool
    verify: bool | str
    """Whether to check the certificate, or the path of the authority to check it with."""

    @property
    def address(self) -> str:
        """`host:port`, an IPv6 address in brackets."""
        host = self.host.strip("[]")
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The server's base URL, without a trailing slash."""
        return f"{'https' if self.https else 'http'}://{self.address}"


@dataclass(frozen=True, slots=True)
class GluetunConfig:
    """Gluetun's control server; `auth` is none, basic or apikey, as configured."""

    server: Server
    auth: str
    username: str
    password: Secret
    apikey: Secret
    port_index: int

    @property
    def missing_credential(self) -> str:
        """The variable without which Gluetun can't be asked in that way; empty where it is set."""
        if self.auth == "apikey" and not self.apikey.value:
            return "GLUETUN_APIKEY"
        return "GLUETUN_USERNAME" if self.auth == "basic" and not self.username else ""

    @property
    def auth_in_use(self) -> str:
        """How Gluetun is asked: none, basic or apikey; none where the credential is missing."""
        return "none" if self.missing_credential else self.auth


@dataclass(frozen=True, slots=True)
class QbittorrentConfig:
    """qBittorrent's Web UI; an API key goes before user name and password."""

    server: Server
    user: str
    password: Secret
    api_key: Secret

    @property
    def auth(self) -> str:
        """How we authenticate: password or apikey."""
        return "apikey" if self.api_key.value else "password"


@dataclass(frozen=True, slots=True)
class TunnelConfig:
    """One Gluetun port and the one qBittorrent behind it."""

    name: str
    gluetun: GluetunConfig
    qbittorrent: QbittorrentConfig
    rebind: RebindPolicy
    interval_seconds: float
    request_timeout_seconds: float
    restart_vpn_after_seconds: float = 0.0
    """0 = never."""
    reannounce_after_change: bool = False


@dataclass(frozen=True, slots=True)
class WebConfig:
    """The web server; an empty address means none."""

    listen_address: str
    users_file: Path | None
    enable_lifecycle: bool = False
    """Whether `POST /-/reload` loads the configuration again."""


@dataclass(frozen=True, slots=True)
class Value:
    """One effective value for `qsticky config`: a secret is already hidden."""

    name: str
    shown: str
    source: str


@dataclass(frozen=True, slots=True)
class Config:
    """All that the daemon needs to know; `warnings` are said once at the start."""

    tunnels: tuple[TunnelConfig, ...]
    interval_seconds: float
    log_level: str
    log_format: str
    health_file: Path
    web: WebConfig
    warnings: tuple[str, ...] = ()
    values: tuple[Value, ...] = ()


def load_config(environ: Mapping[str, str], run_secrets: Path = RUN_SECRETS) -> Config:
    """Read the whole configuration.

    Raises ConfigError with every mistake in it: the variable or YAML path, what was given
    (never a secret) and what is expected.
    """
    reader = _Reader(environ, run_secrets)
    config = reader.config()
    if reader.mistakes:
        raise ConfigError(_once(reader.mistakes))
    return config


class _Reader:
    """Collects values and mistakes; a mistaken value is replaced by its default meanwhile."""

    def __init__(self, environ: Mapping[str, str], run_secrets: Path) -> None:
        self.environ = environ
        self.run_secrets = run_secrets
        self.mistakes: list[str] = []
        self.warnings: list[str] = []
        self.values: list[Value] = []

    def config(self) -> Config:
        entries = self._entries()
        interval = float(self._text("CHECK_INTERVAL"))
        timeout = float(self._text("REQUEST_TIMEOUT"))
        tunnels = tuple(self._tunnel(entry, interval, timeout) for entry in entries)
        self._warn_of_shared_servers(tunnels)
        users_file = self._text("WEB_USERS_FILE")
        return Config(
            tunnels=tunnels,
            interval_seconds=interval,
            log_level=self._text("LOG_LEVEL").upper(),
            log_format=self._text("LOG_FORMAT").lower(),
            health_file=self._health_file(),
            web=WebConfig(
                self._text("WEB_LISTEN_ADDRESS"),
                Path(users_file) if users_file else None,
                is_true(self._text("WEB_ENABLE_LIFECYCLE")),
            ),
            warnings=tuple(_once(self.warnings)),
            values=tuple(_once(self.values)),
        )

    def _warn_of_shared_servers(self, tunnels: Iterable[TunnelConfig]) -> None:
        owners: dict[str, str] = {}
        for tunnel in tunnels:
            address = tunnel.qbittorrent.server.address
            owner = owners.setdefault(address, tunnel.name)
            if owner != tunnel.name:
                self.warnings.append(
                    f"the tunnels of qBittorrent {address}, such as {owner} and {tunnel.name}, "
                    "change its port in turn; give each tunnel a qBittorrent of its own"
                )
                return

    def _health_file(self) -> Path:
        """Its default depends on the machine."""
        self._text("HEALTH_FILE")
        chosen = health_file(self.environ)
        self.values[-1] = replace(self.values[-1], shown=str(chosen))
        return chosen

    def _tunnel(self, entry: Entry, interval: float, timeout: float) -> TunnelConfig:
        return TunnelConfig(
            name=entry.name,
            gluetun=self._gluetun(entry),
            qbittorrent=QbittorrentConfig(
                server=self._server("QBITTORRENT", entry),
                user=self._text("QBITTORRENT_USER", entry),
                password=self._secret("QBITTORRENT_PASS", entry),
                api_key=self._secret("QBITTORRENT_API_KEY", entry),
            ),
            rebind=RebindPolicy(self._text("REBIND", entry).lower()),
            interval_seconds=interval,
            request_timeout_seconds=timeout,
            restart_vpn_after_seconds=float(self._text("RESTART_VPN_AFTER", entry)),
            reannounce_after_change=is_true(self._text("REANNOUNCE_AFTER_CHANGE", entry)),
        )

    def _gluetun(self, entry: Entry) -> GluetunConfig:
        gluetun = GluetunConfig(
            server=self._server("GLUETUN", entry),
            auth=self._text("GLUETUN_AUTH_TYPE", entry).lower(),
            username=self._text("GLUETUN_USERNAME", entry),
            password=self._secret("GLUETUN_PASSWORD", entry),
            apikey=self._secret("GLUETUN_APIKEY", entry),
            port_index=int(self._text("GLUETUN_PORT_INDEX", entry)),
        )
        if variable := gluetun.missing_credential:
            self.warnings.append(
                f"{entry.label(BY_NAME[variable])} is not set, so Gluetun is asked without "
                "credentials; set it, or GLUETUN_AUTH_TYPE=none if that is meant"
            )
        return gluetun

    def _server(self, prefix: str, entry: Entry) -> Server:
        ca_file = self._text(f"{prefix}_CA_FILE", entry)
        return Server(
            host=self._text(f"{prefix}_HOST", entry),
            port=int(self._text(f"{prefix}_PORT", entry)),
            https=is_true(self._text(f"{prefix}_HTTPS", entry)),
            verify=ca_file or is_true(self._text(f"{prefix}_VERIFY_SSL", entry)),
        )

    def _text(self, name: str, entry: Entry = NO_FILE) -> str:
        setting = BY_NAME[name]
        label, given, source = self._find(setting, entry)
        self.values.append(Value(label, given, source))
        try:
            check(setting, given)
        except ValueError as error:
            self.mistakes.append(f"{label}: {error}; expected {setting.expected}")
            return setting.default
        return given

    def _find(self, setting: Setting, entry: Entry) -> tuple[str, str, str]:
        """What to call the value, its text, and where it came from."""
        if (given := entry.get(setting)) is not None:
            return entry.label(setting), given, entry.file
        if (given := self.environ.get(setting.name)) is not None:
            given = given.strip()
            if given or setting.empty_means_none:
                return setting.name, given, "environment"
        return entry.label(setting), setting.default, "default"

    def _secret(self, name: str, entry: Entry) -> Secret:
        setting = BY_NAME[name]
        label, secret, source = self._find_secret(setting, entry)
        self.values.append(Value(label, str(secret), source))
        try:
            check(setting, secret.value)
        except ValueError as error:
            self.mistakes.append(f"{label}: {error}; expected {setting.expected}")
        return secret

    def _find_secret(self, setting: Setting, entry: Entry) -> tuple[str, Secret, str]:
        label, variable = entry.label(setting), setting.name
        is_key = setting.is_key
        if (given := entry.get(setting)) is not None:
            return label, Secret(trimmed(given, is_key=is_key), is_key=is_key), entry.file
        if (path := entry.get_file(setting)) is not None:
            return f"{label}_file", self._secret_file(setting, f"{label}_file", path), path
        if given := trimmed(self.environ.get(variable, ""), is_key=is_key):
            return variable, Secret(given, is_key=is_key), "environment"
        if path := self.environ.get(f"{variable}_FILE"):
            return f"{variable}_FILE", self._secret_file(setting, f"{variable}_FILE", path), path
        path = str(self.run_secrets / variable.lower())
        if _is_file(path):
            return variable, self._secret_file(setting, path, path), path
        return label, Secret(setting.default, is_key=is_key), "default"

    def _secret_file(self, setting: Setting, label: str, path: str) -> Secret:
        try:
            text = trimmed(read_text(Path(path)), is_key=setting.is_key)
            return Secret(text, Path(path), setting.is_key)
        except (OSError, ValueError) as error:
            self.mistakes.append(
                f"{label}: can't read {path!r} ({why(error)}); "
                "expected a readable file that holds the secret"
            )
            return Secret()

    def _entries(self) -> list[Entry]:
        path = self._text("QSTICKY_CONFIG")
        if not path:
            return [NO_FILE]
        entries, mistakes = read_tunnels(Path(path))
        self.mistakes += mistakes
        return entries


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except OSError:  # a folder that is not for us to look into
        return False


def _once(things: Iterable[T]) -> list[T]:
    """Drop repetitions: what all tunnels take from one variable is said once."""
    return list(dict.fromkeys(things))

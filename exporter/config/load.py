"""From environment, secret files and YAML to one frozen Config, or all mistakes at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from exporter.config.kinds import Address
from exporter.config.secret import Secret
from exporter.config.settings import BY_NAME
from exporter.config.sources import Said, Sources, Value
from exporter.config.tunnels_file import NO_FILE, Entry, read_tunnels
from exporter.errors import ConfigError
from exporter.healthcheck import RUN_SECRETS, default_path
from exporter.model import RebindPolicy

T = TypeVar("T")


class Server(NamedTuple):
    """Where a server is and how to reach it."""

    host: str
    port: int
    https: bool
    verify: bool | str
    """Whether to check the certificate, or the path of the authority to check it with."""
    path: str = ""
    """Where it is behind a reverse proxy, such as `/qbittorrent`; empty: at the root."""

    @property
    def address(self) -> str:
        """Return `host:port`, an IPv6 address in brackets."""
        host = self.host.strip("[]")
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def place(self) -> str:
        """Return the address and the path: a reverse proxy may have several servers."""
        return f"{self.address}{self.path}"

    @property
    def url(self) -> str:
        """Return the base URL, without a trailing slash."""
        return f"{'https' if self.https else 'http'}://{self.place}"


class GluetunConfig(NamedTuple):
    """Gluetun's control server; `auth` is none, basic or apikey, as configured."""

    server: Server
    auth: str
    username: str
    password: Secret
    apikey: Secret
    port_index: int

    @property
    def missing_credential(self) -> str:
        """Return the variable that this authentication lacks; empty where none is missing."""
        if self.auth == "apikey" and self.apikey == Secret():
            return "GLUETUN_APIKEY"
        return "GLUETUN_USERNAME" if self.auth == "basic" and not self.username else ""

    @property
    def auth_in_use(self) -> str:
        """Return how Gluetun is asked: none (also without a credential), basic or apikey."""
        return "none" if self.missing_credential else self.auth


class QbittorrentConfig(NamedTuple):
    """qBittorrent's Web UI; an API key goes before user name and password."""

    server: Server
    user: str
    password: Secret
    api_key: Secret

    @property
    def auth(self) -> str:
        """Return how we authenticate: password or apikey."""
        return "apikey" if self.api_key.value else "password"


class ReachabilityConfig(NamedTuple):
    """The service that is asked from outside."""

    url: str
    """With `{port}`, and perhaps `{ip}`, in it."""
    proxy: Secret
    interval_seconds: float


class TunnelConfig(NamedTuple):
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
    disable_upnp: bool = False
    reachability: ReachabilityConfig | None = None
    """None = nobody outside is asked."""


class WebConfig(NamedTuple):
    """The web server; an empty address means none."""

    listen_address: str
    users_file: Path | None
    enable_lifecycle: bool = False
    """Whether `POST /-/reload` loads the configuration again."""
    allowed_hosts: tuple[str, ...] = ()
    """Names in a Host header that a POST may have besides those of a local network."""


class NotifyConfig(NamedTuple):
    """Where notifications go, and what about; without URLs there are none."""

    urls: Secret
    topics: tuple[str, ...]


class Config(NamedTuple):
    """All that the daemon needs to know; `warnings` are logged once at the start."""

    tunnels: tuple[TunnelConfig, ...]
    interval_seconds: float
    log_level: str
    log_format: str
    health_file: Path
    web: WebConfig
    notify: NotifyConfig
    warnings: tuple[str, ...] = ()
    values: tuple[Value, ...] = ()


def load_config(environ: Mapping[str, str], run_secrets: Path = Path(RUN_SECRETS)) -> Config:
    """Read the whole configuration.

    Raises ConfigError with every mistake in it: the variable or YAML path, what was given
    (never a secret) and what is expected; with the warnings about what was given, too.
    """
    sources = Sources(environ, run_secrets)
    file: Path | None = sources.value("QSTICKY_CONFIG")
    entries = _entries(sources, file) if file else [NO_FILE]
    interval, timeout = sources.value("CHECK_INTERVAL"), sources.value("REQUEST_TIMEOUT")
    tunnels = tuple(_tunnel(sources, entry, interval, timeout) for entry in entries)
    config = Config(
        tunnels=tunnels,
        interval_seconds=interval,
        log_level=sources.value("LOG_LEVEL"),
        log_format=sources.value("LOG_FORMAT"),
        health_file=sources.value("HEALTH_FILE") or Path(default_path(environ)),
        web=WebConfig(
            listen_address=sources.value("WEB_LISTEN_ADDRESS"),
            users_file=sources.value("WEB_USERS_FILE"),
            enable_lifecycle=sources.value("WEB_ENABLE_LIFECYCLE"),
            allowed_hosts=sources.value("WEB_ALLOWED_HOSTS"),
        ),
        notify=NotifyConfig(sources.value("NOTIFY_URLS"), sources.value("NOTIFY_ON")),
    )
    if sources.mistakes:
        raise ConfigError(_once(_with_file(sources.mistakes, file)), _once(sources.warnings))
    warnings = [
        *sources.warnings,
        *_missing_credentials(entries, tunnels),
        *_shared_servers(tunnels),
    ]
    values = _with_health_file(_once(sources.values), config.health_file)
    return config._replace(warnings=tuple(_once(warnings)), values=tuple(values))


def log_format(environ: Mapping[str, str], run_secrets: Path = Path(RUN_SECRETS)) -> str:
    """Return how to log, also where the rest of the configuration can't be used."""
    chosen: str = Sources(environ, run_secrets).value("LOG_FORMAT")
    return chosen


def _entries(sources: Sources, file: Path) -> list[Entry]:
    entries, mistakes = read_tunnels(file)
    sources.mistakes += mistakes
    return entries


def _with_file(mistakes: Iterable[str], file: Path | None) -> list[str]:
    """Name the file of what stands at a path in it."""
    return [f"{file}: {each}" if each.startswith("tunnels") else each for each in mistakes]


def _tunnel(sources: Sources, entry: Entry, interval: float, timeout: float) -> TunnelConfig:
    return TunnelConfig(
        name=entry.name,
        gluetun=GluetunConfig(
            server=_server(sources, "GLUETUN", entry),
            auth=sources.value("GLUETUN_AUTH_TYPE", entry),
            username=sources.value("GLUETUN_USERNAME", entry),
            password=sources.value("GLUETUN_PASSWORD", entry),
            apikey=sources.value("GLUETUN_APIKEY", entry),
            port_index=sources.value("GLUETUN_PORT_INDEX", entry),
        ),
        qbittorrent=QbittorrentConfig(
            server=_server(sources, "QBITTORRENT", entry),
            user=sources.value("QBITTORRENT_USER", entry),
            password=sources.value("QBITTORRENT_PASS", entry),
            api_key=sources.value("QBITTORRENT_API_KEY", entry),
        ),
        rebind=sources.value("REBIND", entry),
        interval_seconds=interval,
        request_timeout_seconds=timeout,
        restart_vpn_after_seconds=sources.value("RESTART_VPN_AFTER", entry),
        reannounce_after_change=sources.value("REANNOUNCE_AFTER_CHANGE", entry),
        disable_upnp=sources.value("DISABLE_UPNP", entry),
        reachability=_reachability(sources, entry),
    )


def _reachability(sources: Sources, entry: Entry) -> ReachabilityConfig | None:
    config = ReachabilityConfig(
        url=sources.value("REACHABILITY_URL", entry),
        proxy=sources.value("REACHABILITY_PROXY", entry),
        interval_seconds=sources.value("REACHABILITY_INTERVAL", entry),
    )
    return config if config.url else None


def _server(sources: Sources, prefix: str, entry: Entry) -> Server:
    name, path = f"{prefix}_HOST", f"{prefix}_PATH"
    address: Address = sources.value(name, entry)
    port = Said(name, address.port or address.usual_port, firmly=bool(address.port))
    https = Said(name, address.https, firmly=address.https == "true")
    ca_file = sources.value(f"{prefix}_CA_FILE", entry)
    verify = sources.value(f"{prefix}_VERIFY_SSL", entry)
    return Server(
        host=address.host,
        port=sources.value(f"{prefix}_PORT", entry, port),
        https=sources.value(f"{prefix}_HTTPS", entry, https),
        verify=ca_file or verify,
        path=sources.value(path, entry, Said(name, address.path)) if path in BY_NAME else "",
    )


def _missing_credentials(
    entries: Iterable[Entry], tunnels: Iterable[TunnelConfig]
) -> Iterator[str]:
    for entry, tunnel in zip(entries, tunnels, strict=True):
        if variable := tunnel.gluetun.missing_credential:
            has_name = tunnel.gluetun.auth == "apikey" and tunnel.gluetun.username
            other = "basic to use the user name" if has_name else "none if that is meant"
            yield (
                f"{entry.label(BY_NAME[variable])} is not set, so Gluetun is asked without "
                f"credentials; set it, or GLUETUN_AUTH_TYPE={other}"
            )


def _shared_servers(tunnels: Iterable[TunnelConfig]) -> Iterator[str]:
    for server, fix in _ONE_FOR_EACH:
        owners: dict[str, str] = {}
        for tunnel in tunnels:
            shared = server(tunnel)
            owner = owners.setdefault(shared, tunnel.name)
            if owner != tunnel.name:
                yield f"tunnels such as {owner} and {tunnel.name} share {shared}{fix}"
                break


_ONE_FOR_EACH: tuple[tuple[Callable[[TunnelConfig], str], str], ...] = (
    (
        lambda tunnel: f"qBittorrent {tunnel.qbittorrent.server.place}",
        " and will keep overwriting each other's port; use one qBittorrent per tunnel",
    ),
    (
        lambda tunnel: (
            f"port {tunnel.gluetun.port_index} of Gluetun {tunnel.gluetun.server.address}"
        ),
        ", where one qBittorrent alone can listen; use one port_index per tunnel",
    ),
)


def _with_health_file(values: Iterable[Value], health_file: Path) -> Iterator[Value]:
    """Show the path in force: its default depends on the machine."""
    for value in values:
        is_it = value.name == "HEALTH_FILE"
        yield value._replace(shown=str(health_file)) if is_it else value


def _once(things: Iterable[T]) -> list[T]:
    """Drop repetitions: what all tunnels take from one variable is said once."""
    return list(dict.fromkeys(things))

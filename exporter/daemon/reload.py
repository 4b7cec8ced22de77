"""What a new configuration changes about the tunnels: pure, so that it can be said and counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from exporter.config.load import Config, TunnelConfig
from exporter.config.secret import Secret


class Changes(NamedTuple):
    """The names of the tunnels by what happens to them."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    kept: tuple[str, ...]
    """Nothing happens to these: they keep their session and their state."""

    def __str__(self) -> str:
        return (
            f"{len(self.added)} added, {len(self.removed)} removed, "
            f"{len(self.changed)} changed, {len(self.kept)} unchanged"
        )


def compare(old: Iterable[TunnelConfig], new: Iterable[TunnelConfig]) -> Changes:
    """Return what becomes of each tunnel; its name says which one it is."""
    before = {tunnel.name: _identity(tunnel) for tunnel in old}
    after = {tunnel.name: _identity(tunnel) for tunnel in new}
    both = [name for name in after if name in before]
    return Changes(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(name for name in both if before[name] != after[name]),
        kept=tuple(name for name in both if before[name] == after[name]),
    )


def needing_restart(old: Config, new: Config) -> tuple[str, ...]:
    """Return the variables that changed but count at a start only."""
    values: Mapping[str, tuple[object, object]] = {
        "CHECK_INTERVAL": (old.interval_seconds, new.interval_seconds),
        "LOG_LEVEL": (old.log_level, new.log_level),
        "LOG_FORMAT": (old.log_format, new.log_format),
        "HEALTH_FILE": (old.health_file, new.health_file),
        "WEB_LISTEN_ADDRESS": (old.web.listen_address, new.web.listen_address),
        "WEB_USERS_FILE": (old.web.users_file, new.web.users_file),
        "WEB_ENABLE_LIFECYCLE": (old.web.enable_lifecycle, new.web.enable_lifecycle),
        "WEB_ALLOWED_HOSTS": (old.web.allowed_hosts, new.web.allowed_hosts),
        "NOTIFY_URLS": (_source(old.notify.urls), _source(new.notify.urls)),
        "NOTIFY_ON": (old.notify.topics, new.notify.topics),
    }
    return tuple(name for name, (before, after) in values.items() if before != after)


def _identity(tunnel: TunnelConfig) -> TunnelConfig:
    """Return the tunnel without the content of its secret files, which each use reads anyway."""
    gluetun, qbittorrent, outside = tunnel.gluetun, tunnel.qbittorrent, tunnel.reachability
    return tunnel._replace(
        reachability=outside and outside._replace(proxy=_source(outside.proxy)),
        gluetun=gluetun._replace(
            password=_source(gluetun.password), apikey=_source(gluetun.apikey)
        ),
        qbittorrent=qbittorrent._replace(
            password=_source(qbittorrent.password), api_key=_source(qbittorrent.api_key)
        ),
    )


def _source(secret: Secret) -> Secret:
    if secret.path is None:
        return secret
    # an empty one is a way to authenticate of its own: none
    return Secret("a value" if secret.value else "", secret.path)

"""Starts and stops a real qbittorrent-nox with a profile of its own, closed to the outside."""

import base64
import functools
import hashlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlencode

from tests.parts import debian
from tests.parts.daemon import end

VERSIONS = ("4.2.5", "4.5.2", "5.1.0", "5.3.0")

# the kernel takes the ports of outgoing connections from 32768 on
FREE_PORTS = range(20_000, 32_768)

_handed_out: set[int] = set()
"""A port that is free now may be meant for a server that starts later."""

START_SECONDS = 15.0


@functools.cache
def launcher(version: str) -> Path:
    """The program of that version, brought here first where it is missing; or PartMissing."""
    return (
        debian.run_script("get-qbittorrent", f"qbittorrent-{version}", version) / "qbittorrent-nox"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """What a profile says before the first start."""

    password: str = "real-password"
    api_key: str | None = None
    listening_port: int | None = None
    interface: str = "lo"
    bypass_local_auth: bool = False
    ban_after: int = 5
    ban_seconds: int = 3600
    session_timeout_seconds: int = 3600
    server_domains: str = "*"
    certificate: Path | None = None
    certificate_key: Path | None = None


class RealQbittorrent:
    """One qbittorrent-nox; a context manager that leaves no process behind."""

    def __init__(self, version: str, profile: Path, seed: Seed | None = None) -> None:
        self.version = version
        self.profile = profile
        self.seed = seed or Seed()
        self.username = "admin"
        self.password = self.seed.password
        self.host = "127.0.0.1"
        self.port = free_port()
        self.first_listening_port = self.seed.listening_port or free_port()
        self._output = self.profile / "output.txt"
        self._program = launcher(version)
        self._process: subprocess.Popen[bytes] | None = None
        self._write_config()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start and wait until the WebUI accepts."""
        if self._process is not None:
            raise RuntimeError(f"qBittorrent {self.version} runs already")
        environment = {
            "HOME": str(self.profile),
            "PATH": os.environ.get("PATH", os.defpath),
            "XDG_CONFIG_HOME": str(self.profile / "xdg"),
            "LC_ALL": "C.UTF-8",
        }
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [str(self._program), f"--profile={self.profile}"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        try:
            self._wait_for_web(self._process)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it cleanly, so that it saves its settings; by force where that takes too long."""
        if self._process is not None:
            end(self._process)
        self._process = None

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def restart(self) -> None:
        """Stop and start with the same profile and ports."""
        self.stop()
        self.start()

    def app_version(self) -> str:
        """The version the running server tells, without the leading v."""
        with self._signed_in() as (connection, headers):
            return _get(connection, "/api/v2/app/version", headers).decode().removeprefix("v")

    def wait_until_listening(self) -> None:
        """Wait until the connection status says that a port is bound; 5.x takes up to 1.5 s."""
        deadline = time.monotonic() + START_SECONDS
        with self._signed_in() as (connection, headers):
            while time.monotonic() < deadline:
                answer = json.loads(_get(connection, "/api/v2/transfer/info", headers))
                if answer["connection_status"] != "disconnected":
                    return
                time.sleep(0.05)
        raise TimeoutError(f"qBittorrent {self.version} listens on no port: {self._last_words()}")

    @contextmanager
    def _signed_in(self) -> Iterator[tuple[http.client.HTTPConnection, dict[str, str]]]:
        connection = self._connection()
        try:
            form = urlencode({"username": self.username, "password": self.password})
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", "/api/v2/auth/login", form, kind)
            answer = connection.getresponse()
            answer.read()
            cookie = (answer.getheader("Set-Cookie") or "").split(";")[0]
            yield connection, {"Cookie": cookie}
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self.seed.certificate is None:
            return http.client.HTTPConnection(self.host, self.port, timeout=5)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(self.host, self.port, timeout=5, context=context)

    def _wait_for_web(self, process: subprocess.Popen[bytes]) -> None:
        # 4.5.2 never ends after a SIGTERM that came before its WebUI was up
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise RuntimeError(f"qBittorrent {self.version} ended: {self._last_words()}")
            try:
                socket.create_connection((self.host, self.port), timeout=1).close()
            except OSError:
                time.sleep(0.01)
            else:
                return
        raise TimeoutError(f"qBittorrent {self.version} opened no WebUI: {self._last_words()}")

    def _last_words(self) -> str:
        return self._output.read_text(errors="replace")[-500:].strip() or "no output"

    def _write_config(self) -> None:
        directory = self.profile / "qBittorrent" / "config"
        directory.mkdir(parents=True, exist_ok=True)
        seed = self.seed
        lines = [
            *("[LegalNotice]", "Accepted=true"),
            "[BitTorrent]",
            rf"Session\Port={self.first_listening_port}",
            *(rf"Session\{name}={seed.interface}" for name in ("Interface", "InterfaceName")),
            *(rf"Session\{name}=false" for name in ("DHTEnabled", "LSDEnabled", "PeXEnabled")),
            *("[Network]", "PortForwardingEnabled=false"),
            "[Preferences]",
            # the country database would be downloaded, and stopping would wait for it
            r"Connection\ResolvePeerCountries=false",
            r"Connection\UPnP=false",
            r"General\Locale=en",
            # 4.2 reads these instead of [BitTorrent]
            rf"Connection\PortRangeMin={self.first_listening_port}",
            *(rf"Connection\{name}={seed.interface}" for name in ("Interface", "InterfaceName")),
            *(rf"Bittorrent\{name}=false" for name in ("DHT", "LSD", "PeX")),
            *(rf"WebUI\{name}={value}" for name, value in self._web_settings().items()),
        ]
        (directory / "qBittorrent.conf").write_text("\n".join(lines) + "\n")

    def _web_settings(self) -> dict[str, str | int]:
        seed = self.seed
        settings: dict[str, str | int] = {
            "Address": self.host,
            "Port": self.port,
            "UseUPnP": "false",
            "LocalHostAuth": "false" if seed.bypass_local_auth else "true",
            "Username": self.username,
            "Password_PBKDF2": f'"@ByteArray({_pbkdf2(seed.password)})"',
            "MaxAuthenticationFailCount": seed.ban_after,
            "BanDuration": seed.ban_seconds,
            "SessionTimeout": seed.session_timeout_seconds,
            "ServerDomains": seed.server_domains,
        }
        if seed.api_key is not None:
            settings["APIKey"] = seed.api_key
        if seed.certificate is not None and seed.certificate_key is not None:
            settings |= {r"HTTPS\Enabled": "true"}
            settings |= {r"HTTPS\CertificatePath": str(seed.certificate)}
            settings |= {r"HTTPS\KeyPath": str(seed.certificate_key)}
        return settings


def free_port() -> int:
    """A port free for TCP and UDP on both loopback addresses, as far as one can tell."""
    start = int.from_bytes(os.urandom(4)) % len(FREE_PORTS)
    for step in range(len(FREE_PORTS)):
        port = FREE_PORTS[(start + step) % len(FREE_PORTS)]
        if port in _handed_out:
            continue
        if all(_can_bind(kind, port) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)):
            _handed_out.add(port)
            return port
    raise RuntimeError(f"no free port in {FREE_PORTS}")


def loopback_addresses() -> tuple[str, ...]:
    """The addresses of lo: without IPv6 there is only one."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return ("127.0.0.1",)
    return ("127.0.0.1", "::1")


def _can_bind(kind: socket.SocketKind, port: int) -> bool:
    for address in loopback_addresses():
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            with socket.socket(family, kind) as probe:
                probe.bind((address, port))
        except OSError:
            return False
    return True


@functools.cache
def _pbkdf2(password: str) -> str:
    salt = b"0123456789abcdef"
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 100_000, 64)
    return f"{base64.b64encode(salt).decode()}:{base64.b64encode(digest).decode()}"


def _get(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> bytes:
    connection.request("GET", path, headers=headers)
    return connection.getresponse().read()

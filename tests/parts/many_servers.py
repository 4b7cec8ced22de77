"""A Gluetun and a qBittorrent for each of a thousand tunnels, in one light process.

All listen on one port of all loopback addresses: 127.1.0.1 is tunnel 1, 127.1.3.232 is tunnel
1000. Only what the daemon asks in these tests is answered. Run it with `python -m
tests.parts.many_servers`; it prints its port. Standard library only.
"""

import asyncio
import json
import resource
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

NETWORK = "127.1"
GOOD_PORT_OFFSET = 20_000


def address(tunnel: int) -> str:
    """Where tunnel number 0, 1, 2, … has its two servers."""
    return f"{NETWORK}.{(tunnel + 1) // 256}.{(tunnel + 1) % 256}"


class World:
    """What the servers of all tunnels remember; the tunnels in `hanging` never get an answer."""

    def __init__(self) -> None:
        self.hanging: set[str] = set()
        self.logged_in: set[str] = set()
        self.listening: dict[str, list[int]] = {}
        """Every port that was ever set, the present one last."""
        self.asked: dict[str, list[float]] = {}
        """When each Gluetun was asked for its port, by the monotonic clock."""
        self.set_at: dict[str, float] = {}
        """When each qBittorrent was given a port last, by the same clock."""

    def forwarded(self, host: str) -> int:
        third, fourth = host.split(".")[2:]
        return GOOD_PORT_OFFSET + 256 * int(third) + int(fourth)

    def answer(self, host: str, method: str, target: str, body: bytes) -> tuple[int, Any] | None:
        """Status and document; None = no answer, ever."""
        url = urlsplit(target)
        if url.path.startswith("/control/"):
            return 200, self._control(url.path, body)
        if url.path == "/v1/portforward":
            self.asked.setdefault(host, []).append(time.monotonic())
        if host in self.hanging:
            return None
        if url.path.startswith("/v1/"):
            return self._gluetun(host, url.path)
        if url.path == "/api/v2/auth/login":
            self.logged_in.add(host)
            return 200, "Ok."
        if host not in self.logged_in:
            return 403, "Forbidden"
        return self._qbittorrent(host, method, url.path, parse_qs(url.query), body)

    def _control(self, path: str, body: bytes) -> object:
        if path == "/control/hang":
            self.hanging = set(json.loads(body))
        return {"asked": self.asked, "set_at": self.set_at}

    def _gluetun(self, host: str, path: str) -> tuple[int, Any]:
        answers: dict[str, Any] = {
            "/v1/portforward": {"port": self.forwarded(host)},
            "/v1/vpn/status": {"status": "running"},
            "/v1/publicip/ip": {"public_ip": "203.0.113.1"},
        }
        return (200, answers[path]) if path in answers else (404, "404 page not found")

    def _qbittorrent(
        self, host: str, method: str, path: str, query: dict[str, list[str]], body: bytes
    ) -> tuple[int, Any]:
        ports = self.listening.setdefault(host, [6881])
        port = ports[-1]
        if path == "/api/v2/app/setPreferences" and method == "POST":
            self.set_at[host] = time.monotonic()
            ports.append(json.loads(parse_qs(body.decode())["json"][0])["listen_port"])
            return 200, ""
        if path == "/api/v2/log/main":
            known = int(query["last_known_id"][0])
            message = 'Successfully listening on IP. IP: "10.2.0.2". Port: "TCP/{}"'
            return 200, [
                {"id": number, "message": message.format(opened), "timestamp": 1, "type": 2}
                for number, opened in enumerate(ports)
                if number > known
            ]
        answers: dict[str, Any] = {
            "/api/v2/app/version": "v5.1.0",
            "/api/v2/app/webapiVersion": "2.11.4",
            "/api/v2/app/buildInfo": {"libtorrent": "2.0.11.0"},
            "/api/v2/app/preferences": {
                "listen_port": port,
                "random_port": False,
                "current_network_interface": "tun0",
                "x": "y" * 6000,
            },
            "/api/v2/transfer/info": {"connection_status": "connected"},
        }
        return (200, answers[path]) if path in answers else (404, "Not Found")


class Connection(asyncio.Protocol):
    """One connection, HTTP/1.1, kept open."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._host = transport.get_extra_info("sockname")[0]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].decode("latin-1")
            lengths = [
                int(line.partition(":")[2])
                for line in head.split("\r\n")
                if line.lower().startswith("content-length:")
            ]
            size = end + 4 + sum(lengths)
            if len(self._buffer) < size:
                return
            body, self._buffer = self._buffer[end + 4 : size], self._buffer[size:]
            method, target, _ = head.partition("\r\n")[0].split(" ")
            answer = self._world.answer(self._host, method, target, body)
            if answer is not None:
                self._write(*answer)

    def _write(self, status: int, document: Any) -> None:
        content = document if isinstance(document, str) else json.dumps(document)
        cookie = "Set-Cookie: SID=x; HttpOnly; path=/\r\n" if content == "Ok." else ""
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n{cookie}\r\n"
        self._transport.write((head + content).encode())


class ManyServers:
    """The servers in a process of their own; a context manager."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.parts.many_servers"]
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(
            command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def hang(self, tunnels: Iterable[int]) -> None:
        """Let these never answer, and all others answer."""
        self._control("hang", json.dumps([address(number) for number in tunnels]).encode())

    def seen(self) -> dict[str, Any]:
        """Return what the servers saw so far."""
        said: dict[str, Any] = self._control("seen")
        return said

    def entries(self, tunnels: Iterable[int]) -> str:
        """Return a YAML file of qSticky's for these tunnels."""
        found = [self.entry(number) for number in tunnels]
        return json.dumps({"tunnels": found})  # JSON is YAML

    def entry(self, number: int) -> dict[str, object]:
        """Return one tunnel of it."""
        server = {"host": address(number), "port": self.port}
        return {
            "name": f"t{number}",
            "gluetun": {**server, "auth_type": "none"},
            "qbittorrent": server,
        }

    def _control(self, what: str, body: bytes | None = None) -> Any:
        url = f"http://127.0.0.1:{self.port}/control/{what}"
        with urllib.request.urlopen(url, body, timeout=30) as answer:
            return json.load(answer)


async def _serve() -> None:
    loop, world = asyncio.get_running_loop(), World()
    server = await loop.create_server(lambda: Connection(world), "0.0.0.0", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)  # until our parent closes it


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16_384), hard))
    asyncio.run(_serve())

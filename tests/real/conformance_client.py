"""A client that speaks to a real and to a simulated qBittorrent alike, and notes what it sees."""

import base64
import http.client
import json
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode

import pytest

PASSWORD = "real-password"
GOOD = {"username": "admin", "password": PASSWORD}
BAD = {"username": "admin", "password": "wrong"}
API_KEY = "qbt_abcdefghjkmnpqrstuvwxyzABCDE"
HEADERS = ("connection", "content-type", "content-encoding", "set-cookie", "cache-control")
BIND_RESULT = re.compile(r"\b(TCP|UTP|UDP)/(\d+)")


class Subject(Protocol):
    """Either server."""

    host: str
    port: int

    def restart(self) -> None: ...


@dataclass
class Client:
    """Speaks to one server and notes down what it sees."""

    subject: Subject
    tls: bool = False
    seen: list[tuple[str, Any]] = field(default_factory=list)
    cookie: str = ""
    source: str = "127.0.0.1"
    pause: Callable[[float], None] = time.sleep

    def note(self, what: str, value: Any) -> None:
        self.seen.append((what, value))

    def send(
        self,
        method: str,
        path: str,
        body: str | None = None,
        headers: dict[str, str | None] | None = None,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        sent: dict[str, str | None] = {"Host": f"127.0.0.1:{self.subject.port}"}
        if self.cookie:
            sent["Cookie"] = self.cookie
        if body is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
            sent["Content-Length"] = str(len(body))
        sent |= headers or {}
        connection = self._connection()
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders((body or "").encode())
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def exchange(
        self,
        method: str,
        path: str,
        body: str | None = None,
        headers: dict[str, str | None] | None = None,
    ) -> http.client.HTTPResponse:
        """Send, and note status, body and headers."""
        response, content = self.send(method, path, body, headers)
        shown = {name: self._normal(response.getheader(name)) for name in HEADERS}
        names = [name for name, _ in response.getheaders() if name != "set-cookie"]
        text = self._normal(content.decode("latin-1"))
        if "html" in (shown["content-type"] or ""):
            text = "a page"
        if response.getheader("content-encoding"):
            text = "compressed"
        what = f"{method} {path} {body or ''} {headers or ''}"
        self.note(what, (response.status, response.reason, text, shown, names))
        return response

    def get(self, api: str, **headers: str | None) -> http.client.HTTPResponse:
        return self.exchange("GET", f"/api/v2/{api}", headers=dashed(headers))

    def post(
        self, api: str, form: dict[str, str], **headers: str | None
    ) -> http.client.HTTPResponse:
        return self.exchange("POST", f"/api/v2/{api}", urlencode(form), dashed(headers))

    def log_in(self, form: dict[str, str] = GOOD) -> None:
        """Log in, and keep the cookie for what follows."""
        response = self.post("auth/login", form)
        given = response.getheader("set-cookie")
        if given is not None:
            self.cookie = given.split(";")[0]

    def set(self, wanted: str) -> None:
        self.post("app/setPreferences", {"json": wanted})

    def read(self, api: str) -> Any:
        """Read JSON without noting it."""
        response, content = self.send("GET", f"/api/v2/{api}")
        assert response.status == 200
        return json.loads(content)

    def _connection(self) -> http.client.HTTPConnection:
        where = (self.subject.host, self.subject.port)
        source = (self.source, 0)
        if not self.tls:
            return http.client.HTTPConnection(*where, timeout=5, source_address=source)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(*where, timeout=5, context=context)

    def _normal(self, text: str | None) -> str | None:
        if text is None:
            return None
        text = text.replace(str(self.subject.port), "<port>")
        text = re.sub(r"SID(_<port>)?=[A-Za-z0-9+/]{32}", r"SID\1=<id>", text)
        text = re.sub(r"\w{3}, \d\d-\w{3}-\d{4} \d\d:\d\d:\d\d GMT", "<date>", text)
        return re.sub(r"qbt_\w{28}", "<key>", text)


@dataclass
class Setting:
    """What a scenario has to know beside the client."""

    listening_port: int
    occupied: set[int]


Scenario = Callable[[Client, Setting], None]


def dashed(headers: dict[str, str | None]) -> dict[str, str | None]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def until(client: Client, condition: Callable[[], bool]) -> None:
    for _ in range(250):
        if condition():
            return
        client.pause(0.02)
    pytest.fail("waited too long")


class MovedClock:
    """A clock that a pause moves on at once."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._ahead

    def pause(self, seconds: float) -> None:
        self._ahead += seconds


def bind_log(client: Client, after: int) -> list[tuple[int, str]]:
    """The log's entries about binding that came after that id, as (type, message)."""
    entries = client.read(f"log/main?last_known_id={after}")
    kinds = ("TCP/", "UTP/", "UDP/", "Trying to listen", "interface")
    return [
        (each["type"], each["message"])
        for each in entries
        if any(kind in each["message"] for kind in kinds)
    ]


def last_id(client: Client) -> int:
    return int(client.read("log/main")[-1]["id"])


def settled(client: Client, after: int) -> list[tuple[int, str]]:
    """The same once nothing is added any more."""
    before: list[tuple[int, str]] = []
    for _ in range(50):
        client.pause(0.03)
        now = bind_log(client, after)
        if now == before and (now or _ > 1):
            break
        before = now
    return before


def wait_for_status(client: Client, status: str) -> None:
    until(client, lambda: client.read("transfer/info")["connection_status"] == status)


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def port_settings(client: Client) -> tuple[int, bool]:
    preferences = client.read("app/preferences")
    return preferences["listen_port"], preferences["random_port"]

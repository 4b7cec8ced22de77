"""The simulated qBittorrent answers as the real one of the same version does."""

import base64
import http.client
import json
import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

import pytest

from exporter.simulator.world import SimulatedQbittorrent, Version
from tests.conftest import Certificate
from tests.parts.qbittorrent import RealQbittorrent, Seed, free_port, loopback_addresses

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
        return self.exchange("GET", f"/api/v2/{api}", headers=_dashed(headers))

    def post(
        self, api: str, form: dict[str, str], **headers: str | None
    ) -> http.client.HTTPResponse:
        return self.exchange("POST", f"/api/v2/{api}", urlencode(form), _dashed(headers))

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


def _dashed(headers: dict[str, str | None]) -> dict[str, str | None]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def _until(client: Client, condition: Callable[[], bool]) -> None:
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
    _until(client, lambda: client.read("transfer/info")["connection_status"] == status)


# The scenarios: what is done to both servers


def nobody_is_logged_in(client: Client, setting: Setting) -> None:
    for api in ("app/version", "app/preferences", "log/main", "app/nonsense", "nonsense/x"):
        client.get(api)
    client.get("app/version", Cookie="SID=unknown")
    client.get("app/version", Cookie=f"QBT_SID_{client.subject.port}=unknown")
    for api in ("app/setPreferences", "torrents/reannounce", "auth/logout", "app/rotateAPIKey"):
        client.post(api, {"json": "{}"})
        client.get(api)
    client.get("auth/login")
    client.exchange("GET", "/")


def logging_in_by_password(client: Client, setting: Setting) -> None:
    client.post("auth/login", BAD)
    client.post("auth/login", {})
    client.post("auth/login", {"username": "admin"})
    client.exchange("GET", f"/api/v2/auth/login?{urlencode(GOOD)}")
    client.log_in()
    client.get("app/version")
    # a live session answers for any password
    client.post("auth/login", BAD)
    client.post("auth/login", {})
    client.get("app/version")
    client.post("auth/logout", {})
    client.get("app/version")
    # a stale cookie does no harm
    client.log_in()
    client.get("app/version")
    client.get("auth/logout")


def too_many_failures(client: Client, setting: Setting) -> None:
    client.log_in()
    session, client.cookie = client.cookie, ""
    for _ in range(4):
        client.post("auth/login", BAD)
    client.post("auth/login", GOOD)
    client.get("app/version")
    client.get("app/version", Cookie=session)
    client.post("auth/login", GOOD, Cookie=session)
    client.get("app/version", Authorization=_basic(**GOOD))
    client.source = "127.0.0.2"
    client.post("auth/login", GOOD)
    client.source = "127.0.0.1"
    # attempts during the ban do not lengthen it; afterwards the count starts anew
    client.pause(2.1)
    for _ in range(2):
        client.post("auth/login", BAD)
    client.log_in()
    client.get("app/version")
    messages = [entry["message"] for entry in client.read("log/main")]
    client.note("messages", [each for each in messages if "WebAPI login failure" in each])


def wrong_things_that_never_ban(client: Client, setting: Setting) -> None:
    for _ in range(6):
        client.get("app/version", Cookie="SID=wrong")
        client.get("app/version", Authorization="Bearer qbt_aaaaaaaaaaaaaaaaaaaaaaaaaaaa")
    client.log_in()


def a_good_login_forgets_failures(client: Client, setting: Setting) -> None:
    for _ in range(2):
        client.post("auth/login", BAD)
    client.post("auth/login", GOOD)
    for _ in range(2):
        client.post("auth/login", BAD)
    client.post("auth/login", GOOD)


def an_idle_session_expires(client: Client, setting: Setting) -> None:
    client.log_in()
    client.get("app/version")
    client.pause(1.2)
    client.get("app/version")
    client.log_in()
    client.get("app/version")


def host_and_origin(client: Client, setting: Setting) -> None:
    client.log_in()
    own = f"127.0.0.1:{client.subject.port}"
    for host in ("127.0.0.1:1", "qbittorrent:1", "qbittorrent", None):
        client.get("app/version", Host=host)
        client.post("auth/login", BAD, Host=host)
    for site in ("http://evil.example", f"http://{own}", "http://127.0.0.1:1"):
        client.get("app/version", Origin=site)
        client.get("app/version", Referer=f"{site}/page")
        client.post("auth/login", BAD, Origin=site)
    client.get("app/version", Sec_Fetch_Site="cross-site")
    client.get("app/version", Sec_Fetch_Site="same-origin")


def methods_and_paths(client: Client, setting: Setting) -> None:
    client.log_in()
    for method in ("POST", "HEAD", "PUT", "DELETE", "OPTIONS"):
        client.exchange(method, "/api/v2/app/version")
    client.exchange("POST", "/api/v2/app/version", headers=_dashed({"Content_Length": "0"}))
    for path in ("app/version/", "app/version/x", "App/version", "app/nonsense", "nonsense/x"):
        client.get(path)
    for path in ("/", "/nonsense.html", "/api/v1/app/version", "//api/v2/app/version", "/api"):
        client.exchange("GET", path)
    for api in ("auth/login", "app/setPreferences", "app/rotateAPIKey", "torrents/reannounce"):
        client.get(api)
    client.get("app/webapiVersion")
    client.get("app/version?x=1")
    client.get("app/preferences", Accept_Encoding="gzip, deflate")
    client.get("app/version", Accept_Encoding="gzip, deflate")


def what_is_read(client: Client, setting: Setting) -> None:
    client.log_in()
    client.get("torrents/info?limit=1")
    client.post("torrents/reannounce", {"hashes": "all"})
    client.post("torrents/reannounce", {})
    build = client.read("app/buildInfo")
    client.note("build", (sorted(build), build["libtorrent"], build["bitness"]))
    wait_for_status(client, "firewalled")
    client.note("transfer", client.read("transfer/info"))
    preferences = client.read("app/preferences")
    names = ["listen_port", "random_port", "upnp", "current_network_interface"]
    names += ["current_interface_name", "current_interface_address", "web_ui_session_timeout"]
    names += ["web_ui_max_auth_fail_count", "web_ui_ban_duration", "bypass_local_auth"]
    names += ["web_ui_csrf_protection_enabled", "web_ui_host_header_validation_enabled"]
    names += ["web_ui_domain_list", "web_ui_username", "web_ui_api_key", "web_ui_address"]
    client.note("preferences", {name: preferences.get(name, "-") for name in names})
    bound = [each for each in settled(client, -1) if BIND_RESULT.search(each[1])]
    client.note("first bind", bound)


def what_the_log_tells(client: Client, setting: Setting) -> None:
    client.log_in()
    client.post("auth/login", BAD, Cookie=None)
    entries = client.read("log/main")
    client.note("ids", [entry["id"] for entry in entries] == list(range(len(entries))))
    digits = len(str(entries[0]["timestamp"]))
    client.note("keys", (sorted(entries[0]), digits))
    for query in (
        "normal=false",
        "info=false&warning=false",
        "normal=False",
        "normal=false&info=false&warning=false&critical=false",
        "normal=0&info=x",
        "last_known_id=abc&info=false",
    ):
        kinds = {entry["type"] for entry in client.read(f"log/main?{query}")}
        client.note(query, kinds)
    client.get("log/main?last_known_id=100000")


def listening_port_values(client: Client, setting: Setting) -> None:
    client.log_in()
    base = setting.listening_port
    values = [str(base + 1), f'"{base + 2}"', f"{base + 2}.7", f"{base + 4}.2", "65536", "70000"]
    values += ["-1", "1e4", "99999999999", f'"{base + 5} "', "1024.5"]
    for value in values:
        after = last_id(client)
        client.set(f'{{"listen_port":{value}}}')
        client.note(f"{value} stored", _port_settings(client))
        client.note(f"{value} bound", settled(client, after))


def values_that_mean_a_random_port(client: Client, setting: Setting) -> None:
    client.log_in()
    for value in ('"abc"', "null", "[]", "{}", "false", '""', '"21.5"', '"0x10"', "0"):
        after = last_id(client)
        client.set(f'{{"listen_port":{setting.listening_port + 1}}}')
        settled(client, after)
        after = last_id(client)
        client.set(f'{{"listen_port":{value}}}')
        client.note(f"{value} stored", _port_settings(client))
        found = settled(client, after)
        client.note(f"{value} kinds", [kind for kind, _ in found])
        ports = {match[2] for _, text in found if (match := BIND_RESULT.search(text))}
        client.note(f"{value}: a port for each address family", len(ports))


def the_random_port_flag(client: Client, setting: Setting) -> None:
    client.log_in()
    port = setting.listening_port + 1
    for wanted in (
        {"random_port": False},
        {"listen_port": port, "random_port": True},
        {"listen_port": port + 1, "random_port": False},
        {"random_port": True},
        {"random_port": False},
        {"listen_port": port + 1},
        {"listen_port": port + 2, "random_port": False},
    ):
        after = last_id(client)
        client.set(json.dumps(wanted))
        client.note(f"{wanted} stored", _port_settings(client))
        found = settled(client, after)
        client.note(f"{wanted} kinds", [kind for kind, _ in found])
        fixed = [match[0] for _, text in found if (match := re.search(r"/(2\d{4})\b", text))]
        client.note(f"{wanted} fixed", len(fixed))


def sets_that_change_nothing(client: Client, setting: Setting) -> None:
    client.log_in()
    after = last_id(client)
    client.set(f'{{"listen_port":{setting.listening_port}}}')
    client.set("{")
    client.set("[1]")
    client.set("")
    client.set('{"no_such_key":1}')
    client.set('{"dht":false}')
    client.post("app/setPreferences", {"x": "1"})
    client.exchange("POST", "/api/v2/app/setPreferences", "")
    own = f'{{"listen_port":{setting.listening_port + 1}}}'
    for kind in ("application/json", "text/plain", None):
        client.exchange("POST", "/api/v2/app/setPreferences", own, {"Content-Type": kind})
    client.note("nothing was bound", settled(client, after))
    client.note("stored", _port_settings(client))


def setting_by_get_or_multipart(client: Client, setting: Setting) -> None:
    client.log_in()
    wanted = urlencode({"json": f'{{"listen_port":{setting.listening_port + 1}}}'})
    client.get(f"app/setPreferences?{wanted}")
    client.note("by GET", _port_settings(client))
    part = 'Content-Disposition: form-data; name="json"'
    body = f'--XX\r\n{part}\r\n\r\n{{"listen_port":{setting.listening_port + 2}}}\r\n--XX--\r\n'
    kind: dict[str, str | None] = {"Content-Type": "multipart/form-data; boundary=XX"}
    client.exchange("POST", "/api/v2/app/setPreferences", body, kind)
    client.note("by multipart", _port_settings(client))


def an_occupied_port(client: Client, setting: Setting) -> None:
    client.log_in()
    port = setting.listening_port + 1
    with _held(port, setting):
        after = last_id(client)
        client.set(f'{{"listen_port":{port},"random_port":false}}')
        client.note("stored all the same", _port_settings(client))
        client.note("failed", settled(client, after))
        wait_for_status(client, "disconnected")
    after = last_id(client)
    client.set(f'{{"listen_port":{port},"random_port":false}}')
    client.note("the same again", settled(client, after))
    client.set(f'{{"listen_port":{port + 1}}}')
    client.set(f'{{"listen_port":{port}}}')
    # the second set may come before or after the first one's entries
    client.note("another and back", sorted(settled(client, after)))
    wait_for_status(client, "firewalled")


def an_unknown_interface(client: Client, setting: Setting) -> None:
    client.log_in()
    after = last_id(client)
    client.set('{"current_network_interface":"nonsense0"}')
    client.note("unknown", settled(client, after))
    wait_for_status(client, "disconnected")
    after = last_id(client)
    wanted = {"current_network_interface": "lo", "listen_port": setting.listening_port + 1}
    client.set(json.dumps(wanted))
    client.note("interface and port at once", settled(client, after))
    wait_for_status(client, "firewalled")


def a_restart(client: Client, setting: Setting) -> None:
    client.log_in()
    client.set(f'{{"listen_port":{setting.listening_port + 1}}}')
    client.subject.restart()
    client.get("app/version")
    client.log_in()
    client.note("kept", _port_settings(client))
    client.note("ids begin at 0", client.read("log/main")[0]["id"])
    client.note("bound", [each for each in settled(client, -1) if BIND_RESULT.search(each[1])])


def a_changed_password(client: Client, setting: Setting) -> None:
    client.log_in()
    client.set('{"web_ui_password":"another-password"}')
    client.get("app/version")
    client.cookie = ""
    client.post("auth/login", GOOD)
    client.log_in({"username": "admin", "password": "another-password"})
    client.get("app/version")


def many_sessions(client: Client, setting: Setting) -> None:
    client.log_in()
    first, client.cookie = client.cookie, ""
    for _ in range(15):
        client.post("auth/login", GOOD)
    client.get("app/version", Cookie=first)


def an_api_key(client: Client, setting: Setting) -> None:
    bearer = f"Bearer {API_KEY}"
    for api in ("app/version", "transfer/nonsense", "torrents/info?limit=1", "auth/logout"):
        client.get(api, Authorization=bearer)
    client.post("auth/login", GOOD, Authorization=bearer)
    client.get("app/version", Authorization=f"bearer {API_KEY}")
    client.get("app/version", Authorization=bearer, Host="127.0.0.1:1")
    client.get("app/version", Authorization=bearer, Origin="http://evil.example")
    client.exchange("GET", "/", headers={"Authorization": bearer})
    client.log_in()
    for wrong in ("qbt_aaaaaaaaaaaaaaaaaaaaaaaaaaaa", "nonsense", ""):
        client.get("app/version", Authorization=f"Bearer {wrong}")
    client.get("app/rotateAPIKey")
    client.post("app/rotateAPIKey", {})
    client.get("app/version", Authorization=bearer)
    client.post("app/deleteAPIKey", {})
    client.get("app/version", Authorization="Bearer ")


def basic_authentication(client: Client, setting: Setting) -> None:
    client.get("app/version", Authorization=_basic(**GOOD))
    client.get("app/version", Authorization=_basic(**BAD))
    client.get("app/version", Authorization="Basic nonsense")
    client.get("app/version", Authorization=_basic(**BAD))
    client.get("app/version", Authorization=_basic(**GOOD))
    for _ in range(4):
        client.get("app/version", Authorization=_basic(**BAD))
    client.get("app/version", Authorization=_basic(**GOOD))


def no_login_needed(client: Client, setting: Setting) -> None:
    client.get("app/version")
    client.post("auth/login", BAD)
    client.post("auth/login", {})
    for _ in range(4):
        client.post("auth/login", BAD)
    client.get("app/version", Authorization=_basic(**BAD))
    client.get("app/version", Authorization="Bearer qbt_aaaaaaaaaaaaaaaaaaaaaaaaaaaa")
    client.log_in(BAD)
    client.get("app/version")


def over_https(client: Client, setting: Setting) -> None:
    client.tls = True
    client.post("auth/login", BAD)
    client.log_in()
    client.get("app/version")
    client.post("auth/logout", {})


def shutting_down(client: Client, setting: Setting) -> None:
    client.log_in()
    client.post("app/shutdown", {})

    def gone() -> bool:
        try:
            socket.create_connection((client.subject.host, client.subject.port), 1).close()
        except OSError:
            return True
        return False

    _until(client, gone)


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def _port_settings(client: Client) -> tuple[int, bool]:
    preferences = client.read("app/preferences")
    return preferences["listen_port"], preferences["random_port"]


@contextmanager
def _held(port: int, setting: Setting) -> Iterator[None]:
    """Occupy the port on each loopback address, and tell the simulation so."""
    with ExitStack() as stack:
        for address in loopback_addresses():
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            holder = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            holder.bind((address, port))
            holder.listen()
        setting.occupied.add(port)
        yield
        setting.occupied.discard(port)


SCENARIOS: list[tuple[Scenario, dict[str, Any]]] = [
    (nobody_is_logged_in, {}),
    (logging_in_by_password, {}),
    (too_many_failures, {"ban_after": 3, "ban_seconds": 2}),
    (wrong_things_that_never_ban, {"ban_after": 3}),
    (a_good_login_forgets_failures, {"ban_after": 3}),
    (an_idle_session_expires, {"session_timeout": 1}),
    (host_and_origin, {"ban_after": 30}),
    (methods_and_paths, {}),
    (what_is_read, {}),
    (what_the_log_tells, {}),
    (listening_port_values, {}),
    (values_that_mean_a_random_port, {}),
    (the_random_port_flag, {}),
    (sets_that_change_nothing, {}),
    (setting_by_get_or_multipart, {}),
    (an_occupied_port, {}),
    (an_unknown_interface, {}),
    (a_restart, {}),
    (a_changed_password, {}),
    (many_sessions, {}),
    (an_api_key, {"api_key": API_KEY}),
    (basic_authentication, {"ban_after": 3}),
    (no_login_needed, {"ban_after": 2, "bypass": True}),
    (over_https, {"https": True}),
    (shutting_down, {}),
]


def _seed(options: dict[str, Any], port: int, certificate: Certificate) -> Seed:
    https = options.get("https")
    return Seed(
        password=PASSWORD,
        listening_port=port,
        api_key=options.get("api_key"),
        bypass_local_auth=options.get("bypass", False),
        ban_after=options.get("ban_after", 5),
        ban_seconds=options.get("ban_seconds", 3600),
        session_timeout_seconds=options.get("session_timeout", 3600),
        certificate=certificate.file if https else None,
        certificate_key=certificate.key if https else None,
    )


def _simulated(
    version: Version,
    options: dict[str, Any],
    port: int,
    certificate: Certificate,
    clock: MovedClock,
) -> SimulatedQbittorrent:
    return SimulatedQbittorrent(
        version,
        password=PASSWORD,
        listening_port=port,
        api_key=options.get("api_key"),
        bypass=options.get("bypass", False),
        ban_after=options.get("ban_after", 5),
        ban_seconds=options.get("ban_seconds", 3600),
        session_timeout=options.get("session_timeout", 3600),
        addresses=loopback_addresses(),
        privileged_ports=os.geteuid() == 0,
        clock=clock,
        tls=(certificate.file, certificate.key) if options.get("https") else None,
    )


@pytest.mark.parametrize(
    ("scenario", "options"), [pytest.param(*each, id=each[0].__name__) for each in SCENARIOS]
)
def test_the_simulation_answers_as_the_real_server_does(
    scenario: Scenario,
    options: dict[str, Any],
    qbittorrent_version: Version,
    tmp_path: Path,
    certificate: Certificate,
) -> None:
    port = free_port()
    with RealQbittorrent(
        qbittorrent_version, tmp_path, _seed(options, port, certificate)
    ) as server:
        if not server.app_version().startswith(qbittorrent_version.rpartition(".")[0]):
            pytest.skip(f"Debian has moved on from {qbittorrent_version} to {server.app_version()}")
        real = Client(server)
        scenario(real, Setting(port, set()))
    clock = MovedClock()
    with _simulated(qbittorrent_version, options, port, certificate, clock) as simulation:
        clock.pause(0.1)  # the real one has bound its first port by the time it answers
        simulated = Client(simulation, pause=clock.pause)
        scenario(simulated, Setting(port, simulation.occupied))
    differences = [
        f"{name}\n  real:      {true}\n  simulated: {ours}"
        for (name, true), (_, ours) in zip(real.seen, simulated.seen, strict=True)
        if true != ours
    ]
    assert not differences, "\n" + "\n".join(differences)

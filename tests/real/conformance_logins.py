"""What is done to both servers: who may come in, and how they answer."""

import socket
from urllib.parse import urlencode

from tests.real.conformance_client import (
    API_KEY,
    BAD,
    GOOD,
    Client,
    Setting,
    basic,
    dashed,
    until,
)


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
    client.get("app/version", Authorization=basic(**GOOD))
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
    client.exchange("POST", "/api/v2/app/version", headers=dashed({"Content_Length": "0"}))
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
    client.get("app/version", Authorization=basic(**GOOD))
    client.get("app/version", Authorization=basic(**BAD))
    client.get("app/version", Authorization="Basic nonsense")
    client.get("app/version", Authorization=basic(**BAD))
    client.get("app/version", Authorization=basic(**GOOD))
    for _ in range(4):
        client.get("app/version", Authorization=basic(**BAD))
    client.get("app/version", Authorization=basic(**GOOD))


def no_login_needed(client: Client, setting: Setting) -> None:
    client.get("app/version")
    client.post("auth/login", BAD)
    client.post("auth/login", {})
    for _ in range(4):
        client.post("auth/login", BAD)
    client.get("app/version", Authorization=basic(**BAD))
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

    until(client, gone)

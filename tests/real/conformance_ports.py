"""What is done to both servers: what is read, set and bound."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlencode

from tests.parts.qbittorrent import loopback_addresses
from tests.real.conformance_client import (
    BAD,
    BIND_RESULT,
    Client,
    Setting,
    last_id,
    port_settings,
    settled,
    wait_for_status,
)


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
    values += ["-1", f"{base + 6}e0", "99999999999", f'"{base + 5} "', f"{base + 7}.5"]
    for value in values:
        after = last_id(client)
        client.set(f'{{"listen_port":{value}}}')
        client.note(f"{value} stored", port_settings(client))
        client.note(f"{value} bound", settled(client, after))


def values_that_mean_a_random_port(client: Client, setting: Setting) -> None:
    client.log_in()
    for value in ('"abc"', "null", "[]", "{}", "false", '""', '"21.5"', '"0x10"', "0"):
        after = last_id(client)
        client.set(f'{{"listen_port":{setting.listening_port + 1}}}')
        settled(client, after)
        after = last_id(client)
        client.set(f'{{"listen_port":{value}}}')
        client.note(f"{value} stored", port_settings(client))
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
        client.note(f"{wanted} stored", port_settings(client))
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
    client.note("stored", port_settings(client))


def setting_by_get_or_multipart(client: Client, setting: Setting) -> None:
    client.log_in()
    wanted = urlencode({"json": f'{{"listen_port":{setting.listening_port + 1}}}'})
    client.get(f"app/setPreferences?{wanted}")
    client.note("by GET", port_settings(client))
    part = 'Content-Disposition: form-data; name="json"'
    body = f'--XX\r\n{part}\r\n\r\n{{"listen_port":{setting.listening_port + 2}}}\r\n--XX--\r\n'
    kind: dict[str, str | None] = {"Content-Type": "multipart/form-data; boundary=XX"}
    client.exchange("POST", "/api/v2/app/setPreferences", body, kind)
    client.note("by multipart", port_settings(client))


def an_occupied_port(client: Client, setting: Setting) -> None:
    client.log_in()
    port = setting.listening_port + 1
    with _held(port, setting):
        after = last_id(client)
        client.set(f'{{"listen_port":{port},"random_port":false}}')
        client.note("stored all the same", port_settings(client))
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
    client.note("kept", port_settings(client))
    client.note("ids begin at 0", client.read("log/main")[0]["id"])
    client.note("bound", [each for each in settled(client, -1) if BIND_RESULT.search(each[1])])


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

"""A simulated qBittorrent, true to 4.2.5, 4.5.2, 5.1.0 and 5.3.0."""

import random
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from exporter.simulator.access import Access
from exporter.simulator.connection_status import ConnectionStatus
from exporter.simulator.dialect import Dialect
from exporter.simulator.http import Answer, Request
from exporter.simulator.interface import NAME, VPN_ADDRESSES, VpnInterface
from exporter.simulator.journal import NORMAL, Journal
from exporter.simulator.listening import Listening
from exporter.simulator.preferences import Preferences
from exporter.simulator.server import SimulatedServer
from exporter.simulator.versions import TRAITS, Version
from exporter.simulator.webui import WebUi


class SimulatedQbittorrent(SimulatedServer):
    """Answers as qBittorrent's WebUI does; what happens to it is caused by its methods."""

    idle_seconds = 8.0

    def __init__(  # noqa: PLR0913 - each is an option of the server, given by name
        self,
        version: Version = "5.1.0",
        *,
        password: str = "simulated-password",  # noqa: S107 - guards nothing
        api_key: str | None = None,
        bypass: bool = False,
        listening_port: int = 21000,
        interface: str = NAME,
        addresses: Sequence[str] = VPN_ADDRESSES,
        loopback: Sequence[str] = ("127.0.0.1", "::1"),
        lan: Sequence[str] = (),
        privileged_ports: bool = False,
        tls: tuple[Path, Path] | None = None,
        ban_after: int = 5,
        ban_seconds: int = 3600,
        session_timeout: int = 3600,
        clock: Callable[[], float] = time.monotonic,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(host, port, _tls_context(tls))
        self.version: Version = version
        self.writes: list[int] = []
        self.vpn_interface = VpnInterface(addresses, clock)
        traits = TRAITS[version]
        self._qt6 = traits.qt6
        self._dialect = Dialect(traits)
        self._preferences = Preferences(
            traits,
            {
                "bypass_local_auth": bypass,
                "current_network_interface": interface,
                "listen_port": listening_port,
                "web_ui_address": host,
                "web_ui_ban_duration": ban_seconds,
                "web_ui_max_auth_fail_count": ban_after,
                "web_ui_port": self.port,
                "web_ui_session_timeout": session_timeout,
                "web_ui_username": "admin",
                **({"web_ui_api_key": api_key or ""} if traits.modern else {}),
            },
        )
        self._journal = Journal(traits.words, clock)
        self._listening = Listening(
            traits=traits,
            journal=self._journal,
            vpn=self.vpn_interface,
            clock=clock,
            loopback=loopback,
            lan=lan,
            privileged=privileged_ports,
        )
        self._access = Access(
            traits=traits,
            dialect=self._dialect,
            preferences=self._preferences,
            password=password,
            clock=clock,
            write_log=self._journal.write,
            secure_cookie=tls is not None,
        )
        self._web = WebUi(
            traits=traits,
            dialect=self._dialect,
            port=self.port,
            access=self._access,
            preferences=self._preferences,
            listening=self._listening,
            journal=self._journal,
            apply=self.set_preferences,
            shut_down=self._shut_down,
        )
        self.occupied = self._listening.occupied
        """Ports that another program holds; to be added to."""
        self.occupied_at = self._listening.occupied_at
        """The same on one address: pairs of address and port."""
        self.login_attempts = self._access.login_attempts
        """When a login was tried, by the clock: each POST to auth/login without a session."""
        self.torrents = self._web.torrents
        """What torrents/info tells; to be added to."""
        self.reannounced = self._web.reannounced
        """The torrents that trackers were told of on request, each time."""

    # What a test or the demo does to the server

    def start(self) -> None:
        """Start with an empty memory: no sessions, no bans, a new log, new sockets."""
        with self._lock:
            if not self.running:
                self._begin()
        super().start()

    def restart(self) -> None:
        """Stop and start with the same settings, address and port."""
        self.stop()
        self.start()

    def set_preferences(self, wanted: dict[str, object]) -> None:
        """Apply preferences as app/setPreferences does."""
        with self._lock:
            before = self._preferences.binding
            port = self._preferences.store(wanted)
            if port is not None:
                self.writes.append(port)
            self._access.password = str(wanted.get("web_ui_password") or self._access.password)
            if self._preferences.binding != before:
                self._bind()
            if self._preferences.unsaved:
                self._preferences.unsaved = False
                self._access.resend_cookies()

    def set_password(self, password: str) -> None:
        """Change the password, as the user does; sessions live on."""
        with self._lock:
            self._access.password = password

    def end_sessions(self) -> None:
        """Forget all sessions, as an expiry does."""
        with self._lock:
            self._access.end_sessions()

    def vpn_interface_recreated(self) -> None:
        """Let the VPN's interface go and come back at once, with the same addresses."""
        with self._lock:
            self.vpn_interface.lose(back_after=0.0)
            self._listening.catch_up()

    def incoming_peer(self) -> bool:
        """Let a peer from outside connect; False when no socket hears it."""
        with self._lock:
            return self._listening.peer_connects()

    def peer_gets_in(self, port: int) -> bool:
        """Tell whether a peer from outside would be heard on that port now; leaves no trace."""
        with self._lock:
            return self.running and self._listening.open_to_the_outside(port)

    # What can be set or looked at

    @property
    def listening_port(self) -> int:
        """The preference, which may differ from what is bound."""
        with self._lock:
            return self._preferences.listening_port

    @listening_port.setter
    def listening_port(self, port: int) -> None:
        self.set_preferences({"listen_port": port})

    @property
    def random_port(self) -> bool:
        """Whether the system chooses the port; up to 4.3 independent of the preference."""
        with self._lock:
            return self._preferences.random_port

    @random_port.setter
    def random_port(self, chosen: bool) -> None:
        self.set_preferences({"random_port": chosen})

    @property
    def bound_ports(self) -> set[int]:
        """The ports on which a live socket listens, on whatever address."""
        with self._lock:
            return self._listening.bound_ports

    @property
    def connection_status(self) -> ConnectionStatus:
        """What transfer/info says at this moment."""
        with self._lock:
            return self._listening.status

    @property
    def api_key(self) -> str:
        """The API key in force; empty for none."""
        with self._lock:
            return str(self._preferences.get("web_ui_api_key", ""))

    @property
    def password(self) -> str:
        """The password that is let in."""
        return self._access.password

    @property
    def failed_logins(self) -> int:
        """How many logins had wrong credentials."""
        return self._access.failed_logins

    # The server

    def answer(self, request: Request) -> Answer:
        """Carry out one request, or say why not."""
        with self._lock:
            return self._web.answer(request)

    def head(self, answer: Answer) -> bytes:
        """Return status line and headers in qBittorrent's own spelling and order."""
        return self._dialect.head(answer)

    def malformed(self) -> Answer:
        """Answer a request that qBittorrent's parser rejects."""
        return self._dialect.malformed(None)

    def _begin(self) -> None:
        self._access.begin()
        if self._preferences.listening_port < 0:
            self._preferences["listen_port"] = random.randrange(1024, 65_536)  # noqa: S311
        self._preferences.unsaved = True
        self._listening.begin()
        started = f"qBittorrent v{self.version} started"
        self._journal.write(NORMAL, started + (". Process ID: 7" if self._qt6 else ""))
        self._journal.write(NORMAL, "Using config directory: /config/qBittorrent/config")
        self._bind()
        self._journal.write(NORMAL, f"WebUI: Now listening on IP: *, port: {self.port}")

    def _bind(self) -> None:
        interface, port = self._preferences.binding
        self._listening.bind(interface, 0 if self._preferences.random_port else port)

    def _shut_down(self) -> None:
        # from another thread, and late enough for the answer to be sent
        threading.Timer(0.1, self.stop).start()


def _tls_context(files: tuple[Path, Path] | None) -> ssl.SSLContext | None:
    if files is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context

"""Who may use a simulated qBittorrent: sessions, passwords, bans, the API key."""

import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from exporter.simulator.dialect import (
    BANNED,
    Dialect,
    HttpError,
    cookie_date,
    cookies_of,
    json_answer,
)
from exporter.simulator.http import Answer, Request
from exporter.simulator.journal import NORMAL, WARNING
from exporter.simulator.versions import Traits

API_KEY_LETTERS = "23456789ABCDEFGHIJKLMNPQRSTUVWXYZabcdefghjkmnpqrstuvwxyz"


@dataclass(slots=True)
class _Session:
    last_used: float
    cookie_sent: float
    resend_cookie: bool = False


@dataclass(eq=False, kw_only=True)
class Access:
    """The doorkeeper of one server; all it knows is forgotten on a restart."""

    traits: Traits
    dialect: Dialect
    preferences: dict[str, object]
    password: str
    clock: Callable[[], float]
    write_log: Callable[[int, str], None]
    secure_cookie: bool
    login_attempts: list[float] = field(default_factory=list)
    failed_logins: int = 0
    _sessions: dict[str, _Session] = field(default_factory=dict)
    _failures: dict[str, int] = field(default_factory=dict)
    _banned_until: dict[str, float] = field(default_factory=dict)

    def begin(self) -> None:
        """Forget sessions, failures and bans, as a restart does."""
        self.end_sessions()
        self._failures.clear()
        self._banned_until.clear()

    def end_sessions(self) -> None:
        """Forget all sessions."""
        self._sessions.clear()

    def resend_cookies(self) -> None:
        """Send cookies again, as 5.2 and later do after each change of the settings."""
        for session in self._sessions.values():
            session.resend_cookie = True

    def _number(self, name: str) -> int:
        return int(str(self.preferences.get(name, 0)))

    def presented_key(self, request: Request) -> str | None:
        """Return the API key of a request, whether right or wrong."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        return key if self.traits.modern and scheme.lower() == "bearer" and key else None

    def check_key(self, key: str) -> None:
        """Refuse a key that is not the one in force; this never leads to a ban."""
        if key != self.preferences.get("web_ui_api_key") or not key:
            raise HttpError(403)

    def session(self, request: Request) -> tuple[str | None, str | None]:
        """Return the session of the request, and the cookie to send with the answer."""
        now = self.clock()
        timeout = self._number("web_ui_session_timeout")
        session_id = cookies_of(request).get(self.cookie_name, "")
        session = self._sessions.get(session_id)
        if session is not None and 0 < timeout <= now - session.last_used:
            del self._sessions[session_id]
            session = None
        if session is not None:
            session.last_used = now
            return session_id, self._renewed_cookie(session_id, session)
        if self.preferences["bypass_local_auth"] or self._basic_passes(request):
            return self._new_session()
        return None, None

    def _renewed_cookie(self, session_id: str, session: _Session) -> str | None:
        if not self.traits.modern:
            return None
        now = self.clock()
        timeout = self._number("web_ui_session_timeout")
        old = timeout > 0 and now - session.cookie_sent >= min(timeout // 2, 86_400)
        if not old and not session.resend_cookie:
            return None
        session.cookie_sent, session.resend_cookie = now, False
        return self._cookie(session_id)

    def _new_session(self) -> tuple[str, str]:
        limit = self._number("web_ui_sessions_count_limit")
        while limit and len(self._sessions) >= limit:
            coldest = min(self._sessions, key=lambda each: self._sessions[each].last_used)
            del self._sessions[coldest]
        session_id = base64.b64encode(secrets.token_bytes(24)).decode()
        now = self.clock()
        self._sessions[session_id] = _Session(now, now)
        return session_id, self._cookie(session_id)

    @property
    def cookie_name(self) -> str:
        """The session cookie's name; from 5.2 on it has the port in it."""
        return f"QBT_SID_{self._number('web_ui_port')}" if self.traits.modern else "SID"

    def _cookie(self, session_id: str) -> str:
        parts = [f"{self.cookie_name}={session_id}"]
        parts += ["secure"] if self.secure_cookie else []
        parts += ["HttpOnly"]
        if self.traits.modern:
            timeout = self._number("web_ui_session_timeout")
            seconds = timeout if timeout > 0 else 365 * 86_400
            parts += ["SameSite=Lax", f"expires={cookie_date(seconds)}", "path=/"]
        elif self.traits.qt6:
            parts += ["SameSite=Strict", "path=/"]
        else:
            parts += ["path=/", "SameSite=Strict"]
        return "; ".join(parts)

    def _basic_passes(self, request: Request) -> bool:
        scheme, _, pair = request.headers.get("authorization", "").partition(" ")
        if not self.traits.modern or scheme.lower() != "basic":
            return False
        try:
            username, _, password = base64.b64decode(pair, validate=True).decode().partition(":")
        except ValueError:
            raise HttpError(401) from None
        self._check_credentials(request.address, username, password)
        return True

    def log_in(
        self, request: Request, parameters: dict[str, str], session_id: str | None
    ) -> Answer:
        """Begin a session, count a failure, or refuse one who is banned."""
        if session_id is not None:
            return self._logged_in()
        self.login_attempts.append(self.clock())
        username = parameters.get("username", "")
        try:
            self._check_credentials(request.address, username, parameters.get("password", ""))
        except HttpError as error:
            if error.answer_status == HTTPStatus.UNAUTHORIZED and not self.traits.modern:
                return self.dialect.text("Fails.")
            raise
        answer = self._logged_in()
        answer.headers["set-cookie"] = self._new_session()[1]
        return answer

    def _check_credentials(self, address: str, username: str, password: str) -> None:
        reason = "WebAPI login failure. Reason: {}, IP: " + f"{address}, username: {username}"
        if self._banned_until.get(address, float("-inf")) > self.clock():
            self.write_log(WARNING, reason.format("IP has been banned"))
            raise HttpError(403, BANNED)
        if (username, password) == (self.preferences["web_ui_username"], self.password):
            self._failures.pop(address, None)
            self.write_log(NORMAL, f"WebAPI login success. IP: {address}")
            return
        self.failed_logins += 1
        failures = self._failures.get(address, 0) + 1
        self._failures[address] = failures
        self.write_log(WARNING, reason.format(f"invalid credentials, attempt count: {failures}"))
        if failures == self._number("web_ui_max_auth_fail_count"):
            ban = self._number("web_ui_ban_duration")
            self._banned_until[address] = self.clock() + ban
            self._failures.pop(address)
        raise HttpError(401)

    def _logged_in(self) -> Answer:
        return Answer(204) if self.traits.modern else self.dialect.text("Ok.")

    def log_out(self, session_id: str | None) -> Answer:
        """End the session and its cookie."""
        self._sessions.pop(session_id or "", None)
        answer = self.dialect.text("")
        expired = f"{self.cookie_name}=; expires={cookie_date(-86_400)}; path=/"
        answer.headers["set-cookie"] = expired
        return answer

    def rotate_key(self) -> Answer:
        """Make a new API key; the former dies at once."""
        key = "qbt_" + "".join(secrets.choice(API_KEY_LETTERS) for _ in range(28))
        self.preferences["web_ui_api_key"] = key
        self.resend_cookies()
        return json_answer({"apiKey": key})

    def delete_key(self) -> Answer:
        """Leave no API key in force."""
        self.preferences["web_ui_api_key"] = ""
        self.resend_cookies()
        return Answer(204)

import base64
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import bcrypt
import pytest

from exporter.web.users import Users, Verdict
from exporter.web.users_file import UsersFileError, read_users

ANNA = "$2b$04$dKY4K2.1pjk0l/cE1gHzuOQYoXsLDOvTHUDuwPwPRoNTQJa7rjmsa"


def hashed(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "users.yml"
    path.write_text(f"anna: {hashed('geheim')}\n")
    return path


BOB = ANNA.replace("$2b", "$2y")
BOTH = {"anna": ANNA.encode(), "bob": BOB.encode()}


@pytest.mark.parametrize(
    "content",
    [
        f"anna: {ANNA}\nbob: '{BOB}'\n",
        f"basic_auth_users:\n  anna: {ANNA}\n  bob: {BOB}\n",
        f"# by htpasswd -B\nanna:{ANNA}\n\nbob:{BOB}\n",
        f"anna:{ANNA}\r\nbob:{BOB}\r\n",
    ],
    ids=["mapping", "prometheus", "htpasswd", "htpasswd-crlf"],
)
def test_users_are_read_in_each_format(tmp_path: Path, content: str) -> None:
    path = tmp_path / "users"
    path.write_bytes(content.encode())
    assert read_users(path) == BOTH


NO_HASH = "expected a bcrypt hash ($2y$10$…, 60 characters), make one with `htpasswd -nBC 10 NAME`"
NO_USERS = "expected a mapping of user name to bcrypt hash, found none"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", NO_USERS),
        ("basic_auth_users:\n", NO_USERS),
        ("- anna\n", NO_USERS),
        ("anna: [\n", "not valid YAML (line 2)"),
        ("anna: hunter2\n", f"user 'anna': {NO_HASH}"),
        ("anna:$apr1$hunter2\n", f"user 'anna': {NO_HASH}"),
        (f"anna:{ANNA}\nhunter2\n", "a line has no colon, expected NAME:HASH in each"),
        (
            f"anna: {ANNA.replace('$04$', '$31$')}\n",
            "user 'anna': bcrypt cost 31 is not within 4 and 16, "
            "make one with `htpasswd -nBC 10 NAME`",
        ),
        (f"12: {ANNA}\n", "user 12: put the name in quotes, it must be text"),
        (f"'a:b': {ANNA}\n", "user 'a:b': a name must not be empty nor hold a colon"),
        ("anna: \xff\n", "not valid UTF-8"),
        (
            f"basic_auth_users: {{anna: {ANNA}}}\ntls_server_config: {{}}\n",
            "only basic_auth_users is understood here, not tls_server_config",
        ),
    ],
)
def test_a_mistake_in_the_file_is_named_precisely_without_what_may_be_a_password(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "users.yml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UsersFileError) as caught:
        read_users(path)
    assert caught.value.message == f"{path}: {message}"
    assert caught.value.exit_code == 2


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UsersFileError, match=r"none\.yml: can't be read: No such file or directory"
    ):
        read_users(tmp_path / "none.yml")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ???",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Bearer geheim",
        basic("anna", "wrong"),
        basic("bob", "geheim"),
        basic("", ""),
        basic("anna", "gehe\0im"),
        "Basic " + base64.b64encode(b"\xff\xfe:geheim").decode(),
    ],
)
def test_anything_but_a_right_name_and_password_is_denied(file: Path, header: str) -> None:
    assert Users(file).check(header) is Verdict.DENIED


def test_the_right_name_and_password_are_let_in(file: Path) -> None:
    assert Users(file).check(basic("anna", "geheim")) is Verdict.ALLOWED


def test_a_password_longer_than_bcrypt_reads_is_judged_by_its_first_72_bytes(
    tmp_path: Path,
) -> None:
    path = tmp_path / "users.yml"
    path.write_text(f"anna: {hashed('x' * 72)}\n")
    assert Users(path).check(basic("anna", "x" * 100)) is Verdict.ALLOWED


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often bcrypt was asked to stretch a key, for each hash that it computed."""
    computed: list[int] = []
    check, compute = bcrypt.checkpw, bcrypt.hashpw

    def checkpw(password: bytes, stored: bytes) -> bool:
        computed.append(2 ** int(stored[4:6]))
        return check(password, stored)

    def hashpw(password: bytes, salt: bytes) -> bytes:
        computed.append(2 ** int(salt[4:6]))
        return compute(password, salt)

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    monkeypatch.setattr(bcrypt, "hashpw", hashpw)
    return computed


def test_a_password_known_to_be_right_is_not_computed_again(file: Path, rounds: list[int]) -> None:
    judge = Users(file)
    verdicts = [judge.check(basic("anna", "geheim")) for _ in range(3)]
    assert verdicts == [Verdict.ALLOWED] * 3
    assert len(rounds) == 1


@pytest.mark.parametrize("user", ["anna", "bob", "carl", "nobody"])
def test_a_wrong_password_costs_the_same_for_every_name(
    tmp_path: Path, rounds: list[int], user: str
) -> None:
    path = tmp_path / "users.yml"
    costs = {"anna": 5, "bob": 4, "carl": 7}
    made = {name: bcrypt.hashpw(b"x", bcrypt.gensalt(cost)) for name, cost in costs.items()}
    path.write_text("".join(f"{name}:{stored.decode()}\n" for name, stored in made.items()))
    rounds.clear()
    assert Users(path).check(basic(user, "wrong")) is Verdict.DENIED
    assert sum(rounds) == 2**7


def test_what_is_remembered_holds_no_password(file: Path) -> None:
    judge = Users(file)
    judge.check(basic("anna", "geheim"))
    assert "geheim" not in str(vars(judge))


def rewrite(path: Path, content: str) -> None:
    path.write_text(content)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1_000_000_000))


def test_a_changed_file_holds_at_once(file: Path) -> None:
    judge = Users(file)
    assert judge.check(basic("anna", "geheim")) is Verdict.ALLOWED
    rewrite(file, f"anna: {hashed('neu')}\n")
    assert judge.check(basic("anna", "geheim")) is Verdict.DENIED
    assert judge.check(basic("anna", "neu")) is Verdict.ALLOWED


@pytest.mark.parametrize("spoil", [lambda path: rewrite(path, "anna: ["), Path.unlink])
def test_a_file_that_goes_bad_leaves_the_former_users_and_says_so_once(
    file: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None]
) -> None:
    judge = Users(file)
    spoil(file)
    with caplog.at_level(logging.ERROR, "qsticky"):
        assert judge.check(basic("anna", "geheim")) is Verdict.ALLOWED
        assert judge.check(basic("anna", "wrong")) is Verdict.DENIED
    assert len(caplog.messages) == 1
    assert "the former users stay valid; correct WEB_USERS_FILE" in caplog.messages[0]


def test_wrong_passwords_never_occupy_more_than_two_threads(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Users(file)
    assert judge.check(basic("anna", "geheim")) is Verdict.ALLOWED
    computing, go_on = threading.Semaphore(0), threading.Event()

    def slow(_password: bytes, _stored: bytes) -> bool:
        computing.release()
        go_on.wait(10)
        return False

    monkeypatch.setattr(bcrypt, "checkpw", slow)
    threads = [
        threading.Thread(target=judge.check, args=(basic("anna", f"wrong {number}"),))
        for number in range(2)
    ]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert computing.acquire(timeout=10)
    try:
        assert judge.check(basic("anna", "wrong too")) is Verdict.BUSY
        assert judge.check(basic("anna", "geheim")) is Verdict.ALLOWED
    finally:
        go_on.set()
        for thread in threads:
            thread.join(10)

"""The YAML file of tunnels: its form, and YAML without surprises."""

import subprocess
import sys
from pathlib import Path

import pytest

from exporter.config.strict_yaml import load_yaml
from exporter.config.tunnels_file import read_tunnels


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "qsticky.yml"


def mistakes_of(file: Path, text: str) -> list[str]:
    file.write_text(text, encoding="utf-8")
    entries, mistakes = read_tunnels(file)
    assert isinstance(entries, list)
    return mistakes


def test_one_tunnel_needs_no_name(file: Path) -> None:
    file.write_text("tunnels:\n- gluetun: {port: 8001}\n  rebind: always\n")

    [entry], mistakes = read_tunnels(file)

    assert (entry.name, mistakes) == ("default", [])
    assert entry.given == {("gluetun", "port"): "8001", ("rebind",): "always"}


def test_an_empty_key_counts_as_left_out(file: Path) -> None:
    file.write_text("tunnels: [{gluetun: {host: , port: ''}}]")

    assert read_tunnels(file)[0][0].given == {}


def test_a_tunnel_can_take_over_the_keys_of_another_one(file: Path) -> None:
    file.write_text(
        "tunnels: [&first {name: one, rebind: never, gluetun: {host: box}}, "
        "{<<: *first, name: two}]"
    )

    one, two = read_tunnels(file)[0]

    assert (one.name, two.name) == ("one", "two")
    assert one.given == two.given


_TUNNEL_KEYS = (
    "expected one of name, gluetun, qbittorrent, rebind, restart_vpn_after, "
    "reannounce_after_change, disable_upnp, reachability_url, reachability_proxy, "
    "reachability_interval, reachability_proxy_file"
)
_SERVER_KEYS = (
    "expected one of host, port, path, user, pass, api_key, https, verify_ssl, ca_file, pass_file, "
    "api_key_file"
)
_NAME = "expected a name of up to 63 letters, digits, '.', '_' and '-'"

_MISTAKES = {
    "[{colour: red}]": f"tunnels[0].colour: unknown key; {_TUNNEL_KEYS}",
    "[{5: red}]": f"tunnels[0].5: unknown key; {_TUNNEL_KEYS}",
    "[{qbittorrent: {hots: box}}]": f"tunnels[0].qbittorrent.hots: unknown key; {_SERVER_KEYS}",
    "[{qbittorrent: {pass:hunter2, host: box}}]": "tunnels[0].qbittorrent.pass…: "
    f"unknown key; {_SERVER_KEYS}",
    "nothing": "tunnels: given text; expected a list with entries",
    "{}": "tunnels: given a mapping; expected a list with entries",
    "[]": "tunnels: given an empty list; expected a list with entries",
    "": "tunnels: given nothing; expected a list with entries",
    "[box]": "tunnels[0]: given text; expected a mapping",
    "[{gluetun: box}]": "tunnels[0].gluetun: given text; expected a mapping",
    "[{gluetun: }]": "tunnels[0].gluetun: given nothing; expected a mapping",
    "[{gluetun: {port: [1]}}]": "tunnels[0].gluetun.port: given a list; "
    "expected a port, 1 to 65535",
    "[{qbittorrent: {pass: 0123}}]": "tunnels[0].qbittorrent.pass: "
    "given a value of type int; expected text, in quotes",
    "[{qbittorrent: {pass: no}}]": "tunnels[0].qbittorrent.pass: "
    "given true or false; expected text, in quotes",
    "[{qbittorrent: {pass: 2024-01-01}}]": "tunnels[0].qbittorrent.pass: "
    "given a value of type date; expected text, in quotes",
    "[{qbittorrent: {pass: #hunter2\n}}]": "tunnels[0].qbittorrent.pass: "
    "given nothing; expected text, in quotes",
    "[{qbittorrent: {api_key: ~}}]": "tunnels[0].qbittorrent.api_key: "
    "given nothing; expected text, in quotes",
    "[{gluetun: {apikey: 0123}}]": "tunnels[0].gluetun.apikey: "
    "given a value of type int; expected text, in quotes",
    "[{gluetun: {ca_file: no}}]": "tunnels[0].gluetun.ca_file: "
    "given true or false; expected text, in quotes",
    "[{gluetun: {host: 10}}]": "tunnels[0].gluetun.host: "
    "given a value of type int; expected text, in quotes",
    "[{qbittorrent: {user: 12:30}}]": "tunnels[0].qbittorrent.user: "
    "given a value of type int; expected text, in quotes",
    "[{name: 5}]": f"tunnels[0].name: given a value of type int; {_NAME}",
    "[{name: 'a b'}]": f"tunnels[0].name: given 'a b'; {_NAME}",
    "[{name: 'http://ann:hunter2@box'}]": "tunnels[0].name: "
    f"given what looks like credentials (not shown); {_NAME}",
    "[{name: ''}]": f"tunnels[0].name: given ''; {_NAME}",
    "[{name: a}, {}]": f"tunnels[1].name: given nothing; {_NAME}",
    "[{name: a}, {name: b}, {name: a}]": "tunnels[2].name: given 'a', as at tunnels[0]; "
    "expected a name of its own for each tunnel",
}


@pytest.mark.parametrize("text", _MISTAKES)
def test_a_mistake_says_its_path_and_what_is_expected(text: str, file: Path) -> None:
    assert mistakes_of(file, f"tunnels: {text}") == [_MISTAKES[text]]


def test_two_tunnels_without_names_are_two_mistakes_and_not_one_name_twice(file: Path) -> None:
    assert mistakes_of(file, "tunnels: [{rebind: auto}, {name: 'a b'}]") == [
        f"tunnels[0].name: given nothing; {_NAME}",
        f"tunnels[1].name: given 'a b'; {_NAME}",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "given nothing"),
        ("pass:hunter2", "given text"),
        ("[tunnels]", "given a list"),
        ("5", "given a value of type int"),
    ],
)
def test_a_document_that_is_no_mapping_is_a_mistake(text: str, said: str, file: Path) -> None:
    assert mistakes_of(file, text) == [f"{file}: {said}; expected a mapping with the key 'tunnels'"]


def test_a_key_beside_tunnels_is_a_mistake(file: Path) -> None:
    assert mistakes_of(file, "tunnels: [{}]\ncheck_interval: 5\n") == [
        f"{file}: unknown key 'check_interval'; expected 'tunnels'"
    ]


_FOR_QUOTES = "text that begins with a special character needs quotes"
_NO_FIT = "the indentation does not fit the lines above"
_COLON = (
    "this colon does not fit; check the indentation, the space after each colon, and quotes "
    "around text that has one"
)
_NO_TAG = f"line 1, column 4: {_FOR_QUOTES}"
_NOT_YAML = {
    b"tunnels: [": "line 1, column 11: a bracket that is never closed",
    b"tunnels: [{\n  a: 1": "line 1, column 11: a bracket that is never closed",
    b"a: {b: 1\nc: 2}": "line 2, column 2: a comma or a closing bracket is missing before this",
    b"tunnels:\n\t- x": "line 2, column 1: a tab; indent with spaces",
    b"a:\n  b: 1\n c: 2": f"line 3, column 2: {_NO_FIT}",
    b"a:\n  - b\n - c": f"line 3, column 2: {_NO_FIT}",
    b"a:\n  b: 1\n  - c": f"line 3, column 3: {_NO_FIT}",
    b"a: 1\n  b: 2": f"line 2, column 4: {_COLON}",
    b"a:1\nb: 2": f"line 2, column 2: {_COLON}",
    b"a: hunter2: c": f"line 1, column 11: {_COLON}",
    b"a: 1\nhunter2\nb: 2": "line 2, column 1: a key without a colon",
    b"a: 1\nb: 2\na: 3": "line 3, column 1: found key a a second time",
    b"{pass:hunter2, pass:hunter2}": "line 1, column 16: found key pass… a second time",
    b"a: *hunter2": _NO_TAG,
    b"a: !hunter2": _NO_TAG,
    b"a: !hunter2!b c": _NO_TAG,
    b"a: !it's-hunter2 x": _NO_TAG,
    b"a: @hunter2": _NO_TAG,
    b"a: & hunter2": f"line 1, column 5: {_FOR_QUOTES}",
    b"a: >hunter2": f"line 1, column 5: {_FOR_QUOTES}",
    b"a: ,hunter2": "line 1, column 4: a value is missing, or it needs quotes",
    b"a: !!bool hunter2": "line 1, column 4: found text that needs quotes",
    b"a: !!int hunter2": "line 1, column 4: found text that needs quotes",
    b"a:\n  2024-13-45": "line 2, column 3: found text that needs quotes",
    b'b: 1\na: "hunter2\n': "line 2, column 4: a quote that is never closed",
    b'a: "hunter2" b': "line 1, column 14: text after the closing quote",
    b'a: "hunter2\\w"': "line 1, column 13: a backslash in double quotes; use single quotes",
    b"a: !!python/object/apply:os.system [hunter2]": _NO_TAG,
    b"? [a]\n: b": "line 1, column 3: found unhashable key",
    b"a:\n  " + b"9" * 30: "line 2, column 3: found a huge number",
    b"? 0b" + b"1" * 20_000 + b"\n: 1": "line 1, column 3: found a huge number",
    b"a: &x {}\nb: &x {}": "line 2, column 4: second occurrence",
    b"a: &hunter2": "line 1, column 4: found text that needs quotes",
    b"a: &hunter2 hunter3": "line 1, column 4: found text that needs quotes",
    b"a: \x00": "found a control character",
    b"a: \xff": "it is not UTF-8 text",
    b"[" * 600: "nested too deeply",
    b"#" * 1_000_001: "larger than 1000000 bytes",
    b"--- a\n--- b": "line 2, column 1: a second document; only one is read",
}


@pytest.mark.parametrize("content", _NOT_YAML, ids=lambda content: ascii(content[:30]))
def test_a_file_that_is_not_yaml_is_a_mistake_and_shows_no_text_of_it(
    content: bytes, file: Path
) -> None:
    file.write_bytes(content)

    assert read_tunnels(file) == (
        [],
        [f"can't use '{file}' ({_NOT_YAML[content]}); expected a YAML file"],
    )


def test_a_number_of_64_bits_is_a_number(file: Path) -> None:
    file.write_text("18446744073709551615")

    assert load_yaml(file) == 18446744073709551615


def test_what_only_some_need_is_not_loaded_for_everybody() -> None:
    """PyYAML costs 1.7 MB and 45 ms, ssl 15 ms."""
    code = (
        "import sys; from exporter.config.load import load_config; load_config({}); "
        "assert not {'yaml', 'ssl'} & set(sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

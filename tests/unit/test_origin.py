import pytest

from exporter.web.origin import is_local_host, is_own_page


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost:9809",
        "qsticky",
        "192.168.1.2:9809",
        "[::1]:9809",
        "[fe80::1]",
        "nas.local",
        "NAS.Lan:80",
        "qsticky.media.svc.cluster.local.",
        "box.home.arpa",
        "host.docker.internal",
        "sticky.example.org",
        "Sticky.Example.org.:443",
    ],
)
def test_names_that_nobody_outside_can_register_are_local(host: str) -> None:
    assert is_local_host(host, allowed=["sticky.Example.org"])


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9809",
        "192.168.1.2.evil.example",
        "local.evil.example",
        "nas.local.evil.example",
        "localhost.evil.example",
        "user@evil.example",
        "127.1",
        "1.2.3.4.5",
        "[::1",
        "[evil.example]",
    ],
)
def test_any_other_name_may_be_that_of_an_attacker(host: str) -> None:
    assert not is_local_host(host)


@pytest.mark.parametrize(
    ("fetch_site", "origin", "ours"),
    [
        ("same-origin", "https://proxy.example", True),
        ("none", "", True),
        ("same-site", "http://localhost:9809", False),
        ("cross-site", "", False),
        ("", "", True),
        ("", "http://localhost:9809", True),
        ("", "http://localhost:8080", False),
        ("", "http://evil.example", False),
        ("", "null", False),
        ("", "http://[", False),
    ],
)
def test_a_browser_says_which_page_sent_a_form(fetch_site: str, origin: str, ours: bool) -> None:
    assert is_own_page(fetch_site, origin, "localhost:9809") is ours

"""The documentation: every link leads somewhere, every path exists, every page is in the index."""

import itertools
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from exporter import HOME
from tests.parts.documentation import LANGUAGES, PAGES, ROOT, commands, spans, tokens

EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
TOP = {entry.name for entry in ROOT.iterdir() if entry.name not in {".git", ".venv", "secrets"}}
"""What a path in the documentation may begin with; secrets/ is the user's."""
SUFFIXES = "md|py|toml|yaml|yml|json|service|txt"


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the page's headings."""
    blocks = tokens(page)
    titles = [b.content for a, b in itertools.pairwise(blocks) if a.type == "heading_open"]
    names: Counter[str] = Counter()
    found = set()
    for title in titles:
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.add(f"{slug}-{names[slug]}" if names[slug] else slug)
        names[slug] += 1
    return found


def links(page: Path) -> list[str]:
    children = [child for block in tokens(page) for child in block.children or []]
    found = [child.attrs.get("href") or child.attrs.get("src") for child in children]
    return [str(link) for link in found if link]


@EVERY_PAGE
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    for link in links(page):
        file, _, anchor = link.removeprefix(f"{HOME}/blob/main/").partition("#")
        if re.match("https?:", file):
            continue
        base = ROOT if link.startswith(HOME) else page.parent
        target = (base / file) if file else page
        assert target.exists(), link
        assert target.resolve().is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


@EVERY_PAGE
def test_every_path_that_is_named_exists(page: Path) -> None:
    for span in spans(page):
        if re.fullmatch(r"[\w.*-]+(/[\w.*-]+)+/?|[\w.-]+/", span) and span.split("/")[0] in TOP:
            assert list(ROOT.glob(span.rstrip("/"))), span


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_every_module_and_file_that_is_named_without_its_folder_exists(name: str) -> None:
    folders = (ROOT, ROOT / "exporter", ROOT / "docs", ROOT / "tests" / "unit")
    for span in spans(ROOT / name):
        if re.fullmatch(rf"[\w*.-]+\.({SUFFIXES})", span) and span not in {
            "status.json",
            "config.toml",
        }:
            assert any(list(folder.glob(span)) for folder in folders), span


def test_every_module_of_the_architecture_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("## Who does what")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    modules = [module for row in rows for module in re.findall(r"`([^`]+)`", row)]
    assert "decide_login" in modules
    assert [m for m in modules if not list((ROOT / "exporter").glob(f"{m}.py"))] == []


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / link).resolve() for link in links(index)}
    pages = {page for page in PAGES if page.parent == index.parent} - {index}
    assert pages <= listed


@EVERY_PAGE
def test_every_block_says_what_it_is_so_that_commands_are_found(page: Path) -> None:
    fences = [token.info for token in tokens(page) if token.type in {"fence", "code_block"}]
    assert set(fences) <= set(LANGUAGES)


def test_containers_have_the_names_that_the_commands_use() -> None:
    named = {
        found
        for page in PAGES
        for command in commands(page)
        for found in re.findall(
            r"docker (?:exec|inspect|kill|logs|restart)(?: -\S+(?: (?:\d+[mh]?|HUP))?)* ([a-z]+)\b",
            command,
        )
    }
    [block] = re.findall(
        r"```yaml\n(services:.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    for text in (block, (ROOT / "compose.yaml").read_text(encoding="utf-8")):
        services = yaml.safe_load(text)["services"]
        given = {service.get("container_name") for service in services.values()} - {None}
        assert named == given == {"gluetun", "qbittorrent", "qsticky"}


def test_a_commit_is_checked_as_make_lint_does() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    [hook] = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    assert (hook["entry"], hook["language"]) == ("make lint", "system")
    # all files, each time, as CI does
    assert (hook["pass_filenames"], hook["always_run"]) == (False, True)
    assert not {"files", "exclude", "types", "stages"} & hook.keys()
    assert "make lint " in (ROOT / ".ci" / "run").read_text(encoding="utf-8")

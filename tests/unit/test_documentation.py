"""The documentation: what it links to, names and generates is what there is."""

import itertools
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from docs import generate
from exporter import HOME
from exporter.model import Reason, RebindPolicy, SyncState
from tests.parts.documentation import LANGUAGES, PAGES, ROOT, commands, spans, tokens

EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
FOLDERS = {".ci", ".github", "bench", "deploy", "docs", "exporter", "grafana", "tests"}
"""What a path in the documentation begins with, where it is one of the repository."""
HEALING = {SyncState.IN_SYNC, SyncState.STARTING}
STATES = {state.value for state in SyncState}
REASONS = {reason.value for reason in Reason} | {"none", "by the fault"}


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    return text(page).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def anchors(page: Path) -> set[str]:
    """Return the names that GitHub gives to the page's headings."""
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
        if re.fullmatch(r"[\w.*-]+(/[\w.*-]+)*/?", span) and span.split("/")[0] in FOLDERS:
            assert list(ROOT.glob(span.rstrip("/"))), span


def test_the_architecture_names_every_module_in_its_room() -> None:
    room = ROOT / "exporter"
    found = set()
    for line in section("docs/architecture.md", "The rooms").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0]:
            folder = re.match(r"`(\w+)/`", cells[0])
            room = ROOT / "exporter" / (folder[1] if folder else "")
        for module in re.findall(r"`(\w+\.py)`", line):
            found.add(room / module)
    modules = set((ROOT / "exporter").glob("**/*.py"))
    assert found == {file for file in modules if not file.name.startswith("__")}
    for module in re.findall(r"\w+/\w+\.py", text("docs/architecture.md")):
        assert (ROOT / "exporter" / module).exists(), module


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / link).resolve() for link in links(index)}
    pages = {page for page in PAGES if page.parent == index.parent} - {index}
    assert pages <= listed


@pytest.mark.parametrize("file", generate.files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_what_is_generated_is_up_to_date(file: Path) -> None:
    assert file.read_text(encoding="utf-8") == generate.files()[file], "run `make docs`"


def test_the_text_around_a_generated_table_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- generated: x -->\nold\n<!-- end of generated: x -->\nb\n")
    assert generate.filled_in(page, {"x": "new"}) == (
        "a\n<!-- generated: x -->\nnew\n<!-- end of generated: x -->\nb\n"
    )


def test_the_readme_can_be_read_in_one_sitting() -> None:
    assert len(text("README.md").splitlines()) <= 170


def test_the_readme_says_what_to_do_in_every_state() -> None:
    rows = re.findall(r"^\| (`.*?) \|", section("README.md", "Troubleshooting"), re.MULTILINE)
    assert {state for row in rows for state in re.findall(r"`(\w+)`", row)} == STATES - HEALING


def test_every_policy_of_re_binding_is_explained() -> None:
    explained = section("docs/configuration.md", "After a VPN reconnect")
    rows = re.findall(r"^\| `([a-z]+)` \|", explained, re.MULTILINE)
    assert rows == [*RebindPolicy]


def test_the_table_of_faults_names_states_and_reasons_that_exist() -> None:
    rows = [line.strip("| ").split(" | ") for line in text("docs/faults.md").splitlines()]
    faults = [row for row in rows if len(row) == 4 and row[0] not in {"Fault", "---"}]
    assert {state.strip("`") for _, state, _, _ in faults} <= STATES | {"none"}
    assert {reason.strip("`") for _, _, reason, _ in faults} <= REASONS
    assert {f"`{state}`" for state in STATES} <= {state for _, state, _, _ in faults}
    assert len({(fault, state) for fault, state, _, _ in faults}) > 25


def test_the_log_holds_what_the_runbooks_search_it_for() -> None:
    program = "".join(file.read_text() for file in (ROOT / "exporter").rglob("*.py"))
    searched = re.findall(
        r"docker logs [^`|]*qsticky 2>&1 \| grep ([^`|]*)", text("docs/runbooks.md")
    )
    patterns = [re.sub(r"^-\S+ ", "", pattern).strip(' "') for pattern in searched]
    assert "left port" in patterns
    # Python itself writes the one on a fault in qSticky
    assert [p for p in patterns if p not in program and p not in {"Traceback", "WARNING"}] == []


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
    [block] = re.findall(r"```yaml\n(services:.*?)```", text("README.md"), re.DOTALL)
    for compose in (block, text("compose.yaml")):
        services = yaml.safe_load(compose)["services"]
        given = {service.get("container_name") for service in services.values()} - {None}
        assert named == given == {"gluetun", "qbittorrent", "qsticky"}

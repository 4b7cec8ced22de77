"""Finds what the documentation tells people to run, to open and to look at."""

import re
from collections.abc import Iterator
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FILES = sorted(
    [
        ROOT / "compose.yaml",
        ROOT / "alerts.yml",
        ROOT / ".env.example",
        ROOT / ".pre-commit-config.yaml",
        *(file for file in ROOT.glob("deploy/**/*") if file.is_file()),
    ]
)
"""Not Markdown, but with comments that tell people what to run."""

SHELLS = ("sh", "console", "bash")
LANGUAGES = (*SHELLS, "crontab", "ini", "json", "mermaid", "text", "toml", "yaml")
"""What may stand behind three backticks."""

PROGRAMS = {
    "amtool", "apt", "buildah", "chmod", "chown", "cosign", "cp", "curl", "df", "dig", "dmesg",
    "docker", "eval", "git", "grep", "id", "install", "journalctl", "kill", "kubectl", "ln",
    "make", "mkdir", "openssl", "pip", "pipx", "podman", "pre-commit", "printf", "promtool",
    "pytest", "python", "python3", "qsticky", "rm", "sed", "sh", "sudo", "syft", "systemctl",
    "systemd-analyze", "tar", "touch", "twine", "uv", "wget",
}  # fmt: skip
"""What a command in the middle of a text begins with; it has a second word, too."""


def tokens(page: Path) -> list[Token]:
    """The page's blocks; those with text have children."""
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def spans(page: Path) -> Iterator[str]:
    """What stands between backticks."""
    for block in tokens(page):
        yield from (token.content for token in block.children or [] if token.type == "code_inline")


def commands(file: Path) -> list[str]:
    """What the file tells people to run, in order."""
    found = _of_page(file) if file.suffix == ".md" else _of_comments(file)
    return list(dict.fromkeys(found))


def _of_page(page: Path) -> Iterator[str]:
    for block in tokens(page):
        if block.type == "fence":
            yield from _of_fence(block)
        inline = (token.content for token in block.children or [] if token.type == "code_inline")
        # in a table, Markdown wants a backslash before what separates two commands
        yield from (text.replace("\\|", "|") for text in inline if _is_command(text))


def _of_fence(fence: Token) -> Iterator[str]:
    if fence.info in SHELLS:
        for line in fence.content.replace("\\\n", " ").splitlines():
            yield from _of_line(line)
    if fence.info == "crontab":
        yield from (line.split(maxsplit=5)[5] for line in fence.content.splitlines())


def _of_comments(file: Path) -> Iterator[str]:
    """Lines that are set off in the file's head, and what stands between backticks anywhere."""
    text = file.read_text(encoding="utf-8")
    comments = [line.strip() for line in text.splitlines() if line.lstrip().startswith("#")]
    for comment in comments:
        if comment.startswith("#   ") and _is_command(comment[4:]):
            yield from _of_line(comment[4:])
    for span in re.findall(r"`([^`]+)`", " ".join(line.lstrip("# ") for line in comments)):
        if _is_command(span):
            yield span


def _of_line(line: str) -> Iterator[str]:
    command = re.sub(r"(^|\s+)#\s.*$", "", line).strip()
    if command:
        yield re.sub(r"\s{2,}", " ", command)


def _is_command(text: str) -> bool:
    words = text.split()
    return len(words) > 1 and words[0] in PROGRAMS

"""The pages that make claims name tests, files and rules that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from keyturn.audit.model import Rule

ROOT = Path(__file__).parent.parent.parent
THREATS = (ROOT / "docs/threat-model.md").read_text(encoding="utf-8")
COMPLIANCE = (ROOT / "docs/compliance.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)*)`", THREATS)))
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("examples/**/*.md"),
    *ROOT.glob(".github/**/*.md"),
]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
NOT_SHELL = {"mermaid", "json", "text", "python", "yaml"}
QUOTED = re.compile(r"'[^']*'|\"(?:\\.|[^\"\\])*\"")


def names_in(path: Path) -> set[str]:
    """Every test of a file as pytest names it: `test_x` or `TestX::test_y`."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}::{inner.name}"
                for inner in node.body
                if isinstance(inner, ast.FunctionDef)
            }
    return found


@pytest.mark.parametrize("named", NAMED)
def test_a_test_that_the_threat_model_names_exists(named: str) -> None:
    file, _, name = named.partition("::")
    assert (ROOT / file).is_file()
    assert not name or name in names_in(ROOT / file)


def test_every_answer_of_the_threat_model_is_tied_to_a_test() -> None:
    rows = [row for row in THREATS.splitlines() if row.startswith("| ") and "---" not in row]
    answers = [row for row in rows if not row.startswith(("| they try", "| they look for"))]
    assert len(answers) > 20
    assert [row for row in answers if "`tests/" not in row.rsplit("|", 2)[1]] == []


def test_the_compliance_page_names_every_rule_of_the_audit() -> None:
    named = set(re.findall(r"`([a-z-]+)`", COMPLIANCE))
    # The age of the root password and of people's passwords is in no control that is listed.
    assert {rule.value for rule in Rule} - named == {"old-password", "root-password-rotation"}


def test_the_picture_of_the_demo_keeps_its_promise_and_shows_no_key() -> None:
    picture = (ROOT / "docs" / "images" / "demo.svg").read_text(encoding="utf-8")
    assert "rotated=1&#160;backed_out=1&#160;well_behaved_errors=0" in picture
    assert re.findall(r"A[KS]IA[A-Z0-9]{8,}", picture) == []
    loaded = set(re.findall(r"https?://[^\s\"<)]+", picture))
    assert loaded == {"http://www.w3.org/2000/svg", "https://www.textualize.io"}


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if ":" not in link]
    dead = []
    for link in links:
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def shell_lines(page: str) -> list[str]:
    """The lines of a Markdown text that a reader may paste into a shell."""
    fenced = [found[3] for found in FENCE.finditer(page) if found[2] not in NOT_SHELL]
    indented = re.findall(r"^ {4}.*$", FENCE.sub("", page), re.MULTILINE)
    return "\n".join([*fenced, *indented]).splitlines()


def commented(line: str) -> bool:
    """Whether a shell that knows comments would take a part of the line for one."""
    return re.search(r"(^|[\s;])#", QUOTED.sub("x", line)) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_command_that_a_page_shows_has_a_comment(page: Path) -> None:
    """An interactive zsh, the shell of macOS, takes comments for arguments."""
    lines = shell_lines(page.read_text(encoding="utf-8"))
    assert [line for line in lines if commented(line)] == []


@pytest.mark.parametrize(
    "page",
    ["```\nmake demo  # see\n```\n", "1. x\n\n   ```sh\n   # see\n   ```\n", "    make  # see\n"],
)
def test_a_comment_in_a_command_is_found(page: str) -> None:
    assert [line for line in shell_lines(page) if commented(line)] != []
    quoted = '```sh\necho \'# no\' "a \\" # b" x#y\n```\n```json\n# no\n```\n'
    assert [line for line in shell_lines(quoted) if commented(line)] == []


def anchors(page: Path) -> set[str]:
    """The anchors of a Markdown page: its headings as GitHub names them, and explicit ids."""
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    named = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return named | set(re.findall(r'<a id="([^"]+)">', text))

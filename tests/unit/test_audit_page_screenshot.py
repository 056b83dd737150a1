"""The audit's page in a real browser: it fits on a phone, sorts, filters, and looks like something.

Without a Chromium these tests are skipped. What the page did is read from the DOM afterwards; the
address's fragment drives it, so nothing but the browser is needed.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import pytest

from keyturn.audit.model import AccountSource
from tests.unit.test_audit_page import Page
from tools import audit_picture

BROWSER = audit_picture.chromium() or ""
pytestmark = [
    pytest.mark.skipif(not BROWSER, reason="no chromium here (Debian: apt-get install chromium)"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of three accounts, with every character that IAM allows in names."""
    sources: list[AccountSource] = [
        audit_picture.source(60, account, seed)
        for seed, account in enumerate(("111122223333", "444455556666", "777788889999"))
    ]
    return audit_picture.write(tmp_path_factory.mktemp("page"), *sources)


def browse(tmp_path: Path, address: str, *options: str) -> str:
    """The DOM of an address after its scripts have run."""
    return audit_picture.run_chromium(
        BROWSER, tmp_path / "profile", "--dump-dom", *options, address
    ).decode()


def rows(dom: str, table: str) -> list[str]:
    """The visible rows of a table."""
    body = dom[dom.index(f'id="{table}-table"') :]
    body = body[body.index("<tbody>") : body.index("</tbody>")]
    return re.findall(r"<tr.*?</tr>", body, re.DOTALL)


def test_a_link_filters_by_rule_and_sorts_by_age(report: Path, tmp_path: Path) -> None:
    dom = browse(tmp_path, f"{report.as_uri()}#rule=key-not-rotated&account=444455556666&sort=-age")

    shown = rows(dom, "findings")
    ages = [int(match) for row in shown for match in re.findall(r'class="n" data-v="(\d+)"', row)]
    assert len(shown) > 10
    assert all(">key-not-rotated<" in row and ">444455556666<" in row for row in shown)
    assert len(ages) == len(shown)
    assert ages == sorted(ages, reverse=True)
    assert ages[0] > ages[-1]
    assert re.search(r'data-key="age"[^>]*aria-sort="descending"', dom)
    assert re.search(rf"{len(shown)} of \d+ that match shown, \d+ in all", Page(dom).text)


def test_other_columns_sort_and_other_tables_filter(report: Path, tmp_path: Path) -> None:
    dom = browse(
        tmp_path,
        f"{report.as_uri()}#sort=-severity&managed=yes&find=access+key"
        "&keys.need=REMOVE&keys.sort=user&accounts.sort=-account",
    )

    ranks = {"CRITICAL": 3, "HIGH": 2, "MEDIUM": 1, "LOW": 0}
    found = rows(dom, "findings")
    severities = [ranks[re.findall(r'<td data-v="([A-Z]+)"', row)[0]] for row in found]
    assert severities
    assert severities == sorted(severities, reverse=True)
    assert all('data-v="yes"' in row for row in found)
    keys = rows(dom, "keys")
    users = [re.findall(r'class="u"[^>]*>([^<]+)', row)[0].lower() for row in keys]
    assert len(users) > 10
    assert all('data-v="REMOVE"' in row for row in keys)
    assert users[0] < users[-1]
    accounts = [re.findall(r'data-v="(\d{12})"', row)[0] for row in rows(dom, "accounts")]
    assert accounts == ["777788889999", "444455556666", "111122223333"]


def test_without_a_filter_the_first_fifty_rows_are_shown(report: Path, tmp_path: Path) -> None:
    dom = browse(tmp_path, report.as_uri())

    assert len(rows(dom, "findings")) == 50
    assert re.search(r"Show \d+ more", dom)
    assert "aria-sort" not in dom[dom.index("<body") :]
    # The Content-Security-Policy let the page's own script and style work.
    assert 'class="ready"' in dom


def test_a_heading_sorts_by_click_and_by_keyboard(report: Path, tmp_path: Path) -> None:
    """A page around the report presses its buttons."""
    script = """
      const inside = frame.contentDocument;
      const head = inside.querySelector('#findings-table th[data-key="age"]');
      const button = head.querySelector("button");
      const told = [];
      for (let press = 0; press < 2; press++) {
        button.click();
        told.push(head.ariaSort, frame.contentWindow.location.hash);
      }
      told.push(button.tabIndex, button.tagName);
      return told.join(" ");
    """

    told = beside(report, tmp_path, script, width=1280)

    assert told == "descending #sort=-age ascending #sort=age 0 BUTTON"


@pytest.mark.parametrize("width", [360, 768, 1232, 1240, 1280])
def test_the_page_never_scrolls_sideways(report: Path, tmp_path: Path, width: int) -> None:
    script = """
      for (const details of frame.contentDocument.querySelectorAll("details")) details.open = true;
      const { scrollWidth } = frame.contentDocument.documentElement;
      return scrollWidth + " " + frame.contentWindow.innerWidth;
    """

    scroll, inner = map(int, beside(report, tmp_path, script, width=width).split())

    assert inner == width
    assert scroll <= inner


def beside(report: Path, tmp_path: Path, script: str, *, width: int) -> str:
    """What a script returns in a page that holds the report in a frame of a width.

    Chromium's own window does not become as narrow as a phone.
    """
    harness = tmp_path / "harness.html"
    harness.write_text(
        f'<!doctype html><iframe id="frame" src="{report.as_uri()}" style="width:{width}px;'
        'height:900px;border:0"></iframe><output></output><script>'
        'const frame = document.getElementById("frame");'
        f"frame.onload = () => {{ const told = (() => {{ {script} }})();"
        'document.querySelector("output").textContent = told; };</script>'
    )
    dom = browse(tmp_path, harness.as_uri(), "--window-size=1400,1000")
    (told,) = re.findall(r"<output>(.*?)</output>", dom)
    return str(told)


@pytest.mark.parametrize(("width", "height"), [(1280, 1600), (390, 1600)])
def test_a_screenshot_shows_a_page(report: Path, tmp_path: Path, width: int, height: int) -> None:
    picture = tmp_path / "page.png"
    audit_picture.run_chromium(
        BROWSER,
        tmp_path / "profile",
        f"--window-size={width},{height}",
        f"--screenshot={picture}",
        report.as_uri(),
    )

    size, lines = decoded(picture.read_bytes())

    assert size == (width, height)
    colours = {line[at : at + 3] for line in lines for at in range(0, len(line), 3)}
    assert len(colours) > 50
    # No large part of it is one empty area: most strips of 100 lines have something in them.
    strips = [set(lines[top : top + 100]) for top in range(0, height - 100, 100)]
    assert sum(len(strip) > 5 for strip in strips) > len(strips) * 0.8


def decoded(png: bytes) -> tuple[tuple[int, int], list[bytes]]:
    """The size and the lines (3 bytes a pixel) of an 8-bit RGB or RGBA PNG (PNG, section 9)."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = int.from_bytes(png[16:20]), int.from_bytes(png[20:24])
    depth, kind = png[24], png[25]
    assert (depth, kind) in {(8, 2), (8, 6)}
    step = 3 if kind == 2 else 4
    data, at = b"", 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += 12 + length
    raw = zlib.decompress(data)
    stride = width * step
    lines, above = [], bytearray(stride)
    for row in range(height):
        start = row * (stride + 1)
        above = _unfiltered(raw[start], raw[start + 1 : start + 1 + stride], above, step)
        pixels = above if step == 3 else b"".join(above[i : i + 3] for i in range(0, stride, 4))
        lines.append(bytes(pixels))
    return (width, height), lines


def _unfiltered(kind: int, line: bytes, above: bytearray, step: int) -> bytearray:
    done = bytearray(line)
    for at in range(len(done)):
        left = done[at - step] if at >= step else 0
        up = above[at]
        corner = above[at - step] if at >= step else 0
        if kind == 1:
            guess = left
        elif kind == 2:
            guess = up
        elif kind == 3:
            guess = (left + up) // 2
        elif kind == 4:
            guess = min(
                (abs(up - corner), 0, left),
                (abs(left - corner), 1, up),
                (abs(left + up - 2 * corner), 2, corner),
            )[2]
        else:
            break
        done[at] = (done[at] + guess) & 255
    return done

"""Draws docs/images/audit-report.png: the audit's page over a made-up account, in Chromium.

    python -m tools.audit_picture

Needs a Chromium (Debian: `apt-get install chromium`). `--page report.html` writes the page alone.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "functions"))

from keyturn.audit.model import AccountSource, SecretFacts, Thresholds
from keyturn.audit.outputs import Files
from keyturn.audit.rows import COLUMNS
from keyturn.audit.run import audit
from keyturn.model.passwords import PasswordPolicy

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "audit-report.png"
AT = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
ACCOUNT = "111122223333"
MACHINES = "billing-export ci-deploy log+shipper data.sync-eu backup,nightly grafana=reader sftp"
PEOPLE = "anna.meyer tom_okafor li.wei@example.com sofia.rossi"
SERVICES = (("s3", "eu-central-1"), ("sqs", "us-east-1"), ("ecr", "eu-west-1"), ("iam", "N/A"))


def chromium() -> str | None:
    """Where a Chromium is, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def run_chromium(browser: str, profile: Path, *options: str) -> bytes:
    """What a headless Chromium prints; CalledProcessError or TimeoutExpired when it fails."""
    command = [
        browser,
        "--headless=new",
        "--no-sandbox",  # containers have no user namespaces; the page is our own
        "--disable-gpu",
        "--hide-scrollbars",
        "--allow-file-access-from-files",
        "--virtual-time-budget=10000",
        f"--user-data-dir={profile}",
        *options,
    ]
    return subprocess.run(  # noqa: S603 - the browser that was found, with options of ours
        command, check=True, capture_output=True, timeout=120
    ).stdout


def report(users: int, account: str = ACCOUNT, seed: int = 7) -> Iterator[str]:
    """The lines of a credential report with so many users, machines and people."""
    dice = random.Random(seed)  # noqa: S311 - the same picture every time
    yield ",".join(COLUMNS) + "\n"
    yield (
        f"<root_account>,arn:aws:iam::{account}:root,{_date(4000)},not_supported,{_date(12)},"
        f"not_supported,true,true,{_date(2571)},{_date(3)},us-east-1,s3,"
        "false,N/A,N/A,N/A,N/A\n"
    )
    names = [*MACHINES.split(), *PEOPLE.split()]
    for place in range(users):
        name = names[place % len(names)]
        name = f'"{name}{place:04}"' if "," in name else f"{name}{place:04}"
        person = place % len(names) >= len(MACHINES.split())
        age = 5 + int(dice.lognormvariate(5.6, 1.2)) % 3000
        first = _key(dice, age, active=dice.random() < 0.85)
        second = _key(dice, age // 3, active=dice.random() < 0.4)
        if dice.random() < 0.85:
            second = "false,N/A,N/A,N/A,N/A"
        console = "false,N/A,N/A,false"
        if person:
            mfa = str(dice.random() < 0.9).lower()
            console = f"true,{_date(dice.randrange(300))},{_date(dice.randrange(400))},{mfa}"
        arn = f"arn:aws:iam::{account}:user/{name.strip(chr(34))}"
        arn = f'"{arn}"' if "," in arn else arn
        made = age if person and dice.random() < 0.4 else age + 40
        yield f"{name},{arn},{_date(made)},{console},{first},{second}\n"


def _key(dice: random.Random, age: int, *, active: bool) -> str:
    service, region = dice.choice(SERVICES)
    used = "N/A,N/A,N/A"
    if dice.random() < 0.9:
        used = f"{_date(min(age, int(dice.expovariate(1 / 40))))},{region},{service}"
    return f"{str(active).lower()},{_date(age)},{used}"


def _date(days: int) -> str:
    return (AT - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S+00:00")


def source(users: int, account: str = ACCOUNT, seed: int = 7) -> AccountSource:
    """An account whose machine users are mostly managed."""
    managed = {}
    for line in report(users, account, seed):
        name = line.split(",arn:")[0].split(',"arn:')[0].strip('"')
        if name.startswith(("billing", "ci-", "log", "data")):
            managed[name] = SecretFacts(name, f"arn:aws:secretsmanager:::{name}", False)
    return AccountSource(
        lines=report(users, account, seed),
        at=AT,
        managed=managed,
        password_policy=PasswordPolicy(None, 8, None),
    )


def write(directory: Path, *sources: AccountSource) -> Path:
    """Audit, and return the page."""
    files = Files(directory)
    return files.write(audit(sources, Thresholds(), sink=files))["report.html"]


def main() -> int:
    """Write the picture, or the page alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, help="write the page here and draw nothing")
    parser.add_argument("--users", type=int, default=240)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        page = write(Path(temporary), source(arguments.users))
        if arguments.page:
            shutil.copyfile(page, arguments.page)
            return 0
        browser = chromium()
        if browser is None:
            print("There is no Chromium here. On Debian: apt-get install chromium", file=sys.stderr)
            return 1
        run_chromium(
            browser,
            Path(temporary) / "profile",
            "--window-size=1280,1560",
            f"--screenshot={PICTURE}",
            page.as_uri(),
        )
    print(PICTURE)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

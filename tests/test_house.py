"""Facts about the repository itself that must stay true."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from service.settings import Settings, load_settings
from tests.conftest import LONG
from tests.databases import POSTGRES_IMAGE, Databases

ROOT = Path(__file__).resolve().parents[1]
# Written so that this file does not name them.
REGISTRY_HOSTS = re.compile(r"(pypi|pythonhosted|npmjs|debian)[.](org|com)")
HOMES = re.compile(r"(?<![\w.])/(home|Users|root)/")


def test_every_requirement_is_pinned_with_hashes_and_no_index_is_named() -> None:
    pinned = re.compile(r"[\w.-]+==\S+( ; .+?)?( +--hash=sha256:[0-9a-f]{64})+")
    lines = [
        (path, line)
        for path, text in tracked_texts()
        if path.endswith("requirements.txt")
        for line in text.replace("\\\n", "").splitlines()
        if not line.startswith("#")
    ]
    assert len(lines) > 1
    assert not [(path, line) for path, line in lines if not pinned.fullmatch(line)]


def test_the_tests_run_with_the_versions_that_the_service_runs_with() -> None:
    assert pins("requirements.txt") <= pins("tests/requirements.txt")


def test_no_tracked_file_names_a_package_registry() -> None:
    assert not [path for path, text in tracked_texts() if REGISTRY_HOSTS.search(text)]


def test_no_tracked_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    assert not [path for path, text in tracked_texts() if f"{ROOT}/" in text or HOMES.search(text)]


def test_what_takes_longest_is_there_to_begin_first() -> None:
    assert not [path for path in LONG if not (ROOT / path).exists()]


def test_compose_validates_against_the_schema() -> None:
    check = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        "compose.yaml",
    ]
    checked = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_compose_publishes_ports_on_the_loopback_only() -> None:
    published = re.findall(r"^ +ports:\n((?: +(?:#|- ).*\n)+)", (ROOT / "compose.yaml").read_text(), re.MULTILINE)
    ports = re.findall(r"- (.+)", "".join(published))
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_tests_use_the_postgresql_that_compose_runs() -> None:
    assert f"image: {POSTGRES_IMAGE}\n" in (ROOT / "compose.yaml").read_text()


def test_the_example_of_settings_names_each_with_its_default(tmp_path: Path) -> None:
    example = (ROOT / ".env.example").read_text()
    names = re.findall(r"^#([A-Z_]+)=", example, re.MULTILINE)
    assert [*(name.upper() for name in Settings.model_fields), "POSTGRES_PASSWORD"] == names
    env_file = tmp_path / "env"
    env_file.write_text(re.sub(r"^#(?=[A-Z_]+=)", "", example, flags=re.MULTILINE))
    assert load_settings(env_file) == load_settings(None)


def test_what_is_skipped_fails_in_continuous_integration(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text("import pytest\n\ndef test_it():\n    pytest.skip('no engine')\n")
    (tmp_path / "test_all.py").write_text("import pytest\n\npytest.importorskip('no_such_module')\n")
    assert "1 failed, 1 error" in run_pytest(tmp_path, CI="true")


def test_settings_of_the_developer_do_not_reach_the_tests(tmp_path: Path) -> None:
    foreign = {"DATABASE_URL": "sqlite:///mine.db", "LANGSMITH_API_KEY": "mine", "PGHOST": "mine"}
    source = f"import os\n\ndef test_it():\n    assert not {set(foreign)} & os.environ.keys()\n"
    (tmp_path / "test_it.py").write_text(source)
    assert "1 passed" in run_pytest(tmp_path, **foreign)


def test_each_test_has_a_database_of_its_own(database: str, databases: Callable[[str], Databases]) -> None:
    urls = {databases(database).migrated() for _ in range(2)} | {databases(database).empty()}
    for url in urls:
        databases(database).drop(url)
    assert len(urls) == 3


def pins(path: str) -> set[str]:
    return set(re.findall(r"^[\w.-]+==.*$", (ROOT / path).read_text(), re.MULTILINE))


def tracked_texts() -> list[tuple[str, str]]:
    """Path and content of the files that git keeps or would add, but for recordings and other bytes."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    paths = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    texts = []
    for path in filter(None, paths):
        content = (ROOT / path).read_bytes() if (ROOT / path).is_file() else b"\0"
        if b"\0" not in content and not path.endswith(".bin"):
            texts.append((path, content.decode(errors="replace")))
    assert texts
    return texts


def run_pytest(directory: Path, **environment: str) -> str:
    """What pytest says of the tests in a directory, with our configuration and conftest."""
    configured = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-p", "tests.conftest"]
    # A session of pytest tidies away the directories of earlier ones, unless it is told where its own are.
    apart = ["-p", "no:cacheprovider", "--basetemp", str(directory / "temporary")]
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--continue-on-collection-errors",
            *configured,
            *apart,
            str(directory),
        ],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    ).stdout

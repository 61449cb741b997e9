"""The clients under test are installed as their files say, wherever there is a Python."""

import subprocess
from pathlib import Path

import pytest

from tests.sdk import environments
from tests.sdk.environments import CLIENTS, JS_CLIENTS, LANGCHAIN_CLIENTS, PYTHON_CLIENTS


def test_every_folder_of_a_client_is_under_test() -> None:
    folders = {path.name for path in CLIENTS.iterdir() if path.is_dir()}
    assert folders == {*PYTHON_CLIENTS, *JS_CLIENTS, *LANGCHAIN_CLIENTS}


def test_a_client_is_pinned_by_hashes_and_not_by_addresses() -> None:
    for path in CLIENTS.glob("*/requirements.txt"):
        text = path.read_text()
        assert text.count("==") <= text.count("--hash=sha256:"), path
        assert "://" not in text, path
    for path in CLIENTS.glob("*/package-lock.json"):
        assert '"integrity"' in path.read_text(), path
        assert '"resolved"' not in path.read_text(), path


def test_a_machine_without_node_uses_the_one_of_the_development_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    node, npm = environments._node_and_npm()
    assert npm[0] == node
    version = subprocess.run(
        [*npm, "--version"], capture_output=True, text=True, check=True, env={"HOME": str(tmp_path)}
    )
    assert int(version.stdout.split(".")[0]) >= 10


def test_an_installed_client_is_kept_until_its_requirements_change(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "client"
    filled: list[str] = []
    for stamp in ("one", "one", "two"):
        with environments._fresh(folder, stamp) as to_install:
            if to_install:
                folder.mkdir()
                filled.append(stamp)
    assert filled == ["one", "two"]


def test_an_installation_that_failed_is_begun_anew(tmp_path: Path) -> None:
    folder = tmp_path / "client"

    def fail() -> None:
        with environments._fresh(folder, "one") as to_install:
            assert to_install
            (folder / "half").mkdir(parents=True)
            raise RuntimeError("no network")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="no network"):
            fail()
    assert not (folder / "stamp").exists()

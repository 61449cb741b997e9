import asyncio
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from projections.projector import fold_version
from service.cli import main
from tests.events.histories import opened, refused, some_run, submission
from tests.events.tampering import drop_guards


def run(database_url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--database-url", database_url], prog_name="agent-spy")


@pytest.fixture
def told(database_url: str) -> str:
    """The URL of a log with two events, a duplicate and something in quarantine."""
    asyncio.run(_tell(database_url))
    return database_url


async def _tell(url: str) -> None:
    async with opened(url) as store:
        await store.append(submission(some_run(1), some_run(2), some_run(1), refused(b"?")))
        # As this program's own folds would have left it.
        await store.execute("UPDATE heads SET fold_version = :own", own=fold_version("documented"))


def change(url: str, *statements: str) -> None:
    """Run statements on a database without guards."""

    async def work() -> None:
        async with opened(url) as store:
            await drop_guards(store)
            for statement in statements:
                await store.execute(statement)

    asyncio.run(work())


def test_a_whole_log_is_told_with_its_end(told: str) -> None:
    result = run(told, "verify", "--log-only")
    assert result.exit_code == 0
    assert re.match(r"The log in .+ is as it was written:\n  2 events, 1 receipts, 1 in quarantine, 0 ", result.stdout)
    assert re.search(
        r"\n  It ends with event 2, chain [0-9a-f]{64}\.\n  The read models were left out\.\n$", result.stdout
    )


def test_a_changed_log_is_told_with_the_first_bad_place(told: str) -> None:
    change(told, "UPDATE events SET kind = 'RunPatched' WHERE position = 2")
    result = run(told, "verify", "--log-only")
    assert result.exit_code == 1
    assert re.match(
        r"The log in .+ is not as it was written. The first of \d findings:\n  event 2: its chain value does",
        result.stdout,
    )
    assert "Traceback" not in result.output


def test_a_changed_log_says_that_the_read_models_were_not_compared(told: str) -> None:
    change(told, "UPDATE receipts SET sdk = 'forged'")
    said = run(told, "verify").stdout.splitlines()[-1]
    assert said == "The read models were not compared: only a log without findings can be folded."
    assert json.loads(run(told, "verify", "--json").stdout)["read_models"] == "impossible"


def test_read_models_that_are_no_fold_of_the_log_are_told(told: str) -> None:
    result = run(told, "verify")  # Nothing folded what was told.
    assert result.exit_code == 1
    assert "read model runs" in result.stdout


def test_json_is_one_document_whether_anything_is_wrong_or_not(told: str) -> None:
    whole = run(told, "verify", "--log-only", "--json")
    change(told, "UPDATE receipts SET sdk = 'forged'")
    changed = run(told, "verify", "--json", "--findings", "1")
    assert (whole.exit_code, changed.exit_code) == (0, 1)
    first, second = json.loads(whole.stdout), json.loads(changed.stdout)
    assert (first["whole"], first["findings"], first["shards"][0]["position"]) == (True, [], 2)
    assert second["whole"] is False
    assert [(finding["place"], finding["name"]) for finding in second["findings"]] == [("receipt", 1)]


def test_a_log_is_verified_against_what_was_attested(told: str, tmp_path: Path) -> None:
    key, kept = tmp_path / "key", tmp_path / "attestations"
    first = run(told, "attest", "--key", str(key), "--new-key")
    second = run(told, "attest", "--key", str(key))
    kept.write_text(first.stdout + second.stdout)
    signer = json.loads(first.stdout)["public_key"]
    result = run(told, "verify", "--log-only", "--against", str(kept), "--signed-by", signer)
    assert (first.exit_code, second.exit_code, result.exit_code) == (0, 0, 0)
    assert result.stdout.count("  It extends the attestation of ") == 2


def test_a_log_that_does_not_extend_what_was_attested_is_told_with_the_time(told: str, tmp_path: Path) -> None:
    kept = tmp_path / "attestations"
    attested = run(told, "attest", "--key", str(tmp_path / "key"), "--new-key").stdout
    kept.write_text(attested)
    change(told, "DELETE FROM quarantine", "UPDATE heads SET quarantine_id = 0")
    result = run(told, "verify", "--against", str(kept))
    assert result.exit_code == 1
    assert f"attestation {json.loads(attested)['time']}: quarantined item 1 was the last then" in result.stdout


def test_an_attestation_that_cannot_be_relied_on_is_refused_by_name(told: str, tmp_path: Path) -> None:
    kept = tmp_path / "attestations"
    attested = json.loads(run(told, "attest", "--key", str(tmp_path / "key"), "--new-key").stdout)
    kept.write_text(json.dumps({**attested, "position": 1}))
    forged = run(told, "verify", "--against", str(kept))
    kept.write_text(json.dumps(attested))
    by_another = run(told, "verify", "--against", str(kept), "--signed-by", "00" * 32)
    kept.write_text("\n")
    empty = run(told, "verify", "--against", str(kept))
    assert (forged.exit_code, by_another.exit_code, empty.exit_code) == (1, 1, 1)
    assert forged.output == f"Error: {kept}, line 1: the signature is not that of its public key over its members\n"
    assert by_another.output.startswith(f"Error: {kept}, line 1: it is signed by ")
    assert empty.output == f"Error: {kept}: there is no attestation in it\n"


@pytest.mark.parametrize("command", [["verify"], ["attest", "--key", "key", "--new-key"]])
def test_a_database_that_was_never_migrated_says_what_to_do(
    command: list[str], empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(empty_database_url, *command)
    assert result.exit_code == 1
    assert result.output.endswith("run agent-spy migrate.\n")
    assert not (tmp_path / "key").exists()


def test_a_key_that_is_not_there_is_told(told: str, tmp_path: Path) -> None:
    result = run(told, "attest", "--key", str(tmp_path / "none"))
    assert result.exit_code == 1
    assert result.output.startswith("Error: the key cannot be read: ")

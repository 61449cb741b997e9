"""The README says what is true."""

import re
from pathlib import Path

from service.settings import Settings, default_text

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_every_setting_stands_in_the_table_with_its_default_and_description() -> None:
    table = README.partition("<!-- settings")[2].partition("<!-- /settings")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", table, re.MULTILINE)
    defaults = {name: default_text(field) for name, field in Settings.model_fields.items()}
    assert rows == [
        (name.upper(), f"`{defaults[name]}`" if defaults[name] else "none", field.description)
        for name, field in Settings.model_fields.items()
    ]


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (Path(__file__).parent.parent / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)", README)) - {"and"}
    assert named
    assert named <= targets


def test_every_file_that_is_linked_exists() -> None:
    links = re.findall(r"\]\(((?!http)[^)#]+)\)", README)
    assert links
    assert [link for link in links if not (Path(__file__).parent.parent / link).exists()] == []

import json
from typing import Any

import pytest

from deploy.audit import CLEAN, UNKNOWN, VULNERABLE, Finished, main

SOUND = {"name": "sound", "version": "1", "vulns": []}
FAULTY = {"name": "faulty", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
ABSENT = {"name": "absent", "skip_reason": "Dependency not found on PyPI: absent (1)"}


def audit(*dependencies: dict[str, Any]) -> int:
    output = json.dumps({"dependencies": dependencies, "fixes": []})
    return main([], lambda: Finished(output, ""))


def test_all_looked_up_and_sound_is_clean(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit(SOUND, SOUND) == CLEAN
    assert capsys.readouterr().out == "2 locked versions: no known vulnerabilities\n"


def test_a_vulnerability_is_named_with_its_fix(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit(SOUND, FAULTY, ABSENT) == VULNERABLE
    assert "faulty 2: CVE-1, fixed in 3" in capsys.readouterr().err


@pytest.mark.parametrize("dependencies", [[SOUND, ABSENT], [ABSENT] * 9, []])
def test_what_was_not_looked_up_is_not_clean(
    dependencies: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit(*dependencies) == UNKNOWN
    assert capsys.readouterr().err.startswith("not audited: ")


def test_a_service_that_is_away_is_not_clean(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], lambda: Finished("", "Traceback\nConnectionError: no route")) == UNKNOWN
    assert "ConnectionError: no route" in capsys.readouterr().err

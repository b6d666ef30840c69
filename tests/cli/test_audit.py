"""``hpo audit``: a study under other rules."""

import re
from collections.abc import Callable

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., str]


def test_a_study_is_replayed_under_other_rules(hpo_command: Run, write_study: Write) -> None:
    file = write_study()
    assert hpo_command("run", file, "--pruner", "nop")[0] == 0
    code, out, _ = hpo_command("audit", "tiny")
    assert code == 0
    rows = dict(re.findall(r"^(nop|median|optuna_median|halving\S*) +(\d+) ", out, re.MULTILINE))
    assert rows["nop"] == "18"
    assert int(rows["median"]) <= 18
    assert "best that is left" in out
    assert re.search(r"^one_se +\d", out, re.MULTILINE)
    code, out, _ = hpo_command("audit", "tiny", "--pruner", "halving:eta=4")
    assert "halving:eta=4" in out
    assert "median" not in out


def test_mistakes_are_named(hpo_command: Run, write_study: Write) -> None:
    assert hpo_command("run", write_study())[0] == 0
    code, _, err = hpo_command("audit", "tyni")
    assert (code, "It has: tiny." in " ".join(err.split())) == (2, True)
    code, _, err = hpo_command("audit", "tiny", "--pruner", "meridian")
    assert (code, "median" in err) == (2, True)

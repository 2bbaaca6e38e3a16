"""The documents beside the configuration say what it is."""

import json
import re
import subprocess
import sys

import pytest

from tests.terraform.rules_metrics import logged_events, metrics
from tests.terraform.rules_settings import names_that_config_reads
from tests.terraform.terraform import PYTHON, ROOT, SOURCE
from tools import accounts

DOCS = ("architecture", "blueprint", "configuration", "costs", "deployment", "metrics", "runbook", "scaling")


def test_the_readme_is_current():
    subprocess.run([sys.executable, "-m", "tools.terraform.readme", "--check"], cwd=ROOT, check=True)


def test_the_costs_are_what_the_numbers_make():
    subprocess.run([sys.executable, "-m", "tools.costs", "--check"], cwd=ROOT, check=True)


def test_checkov_finds_nothing_but_what_is_left_with_a_reason():
    listed = SOURCE / "checkov.yaml"
    skipped, reason = set(), ""
    for line in listed.read_text().splitlines()[2:]:
        if found := re.fullmatch(r"  - (CKV\w+)", line):
            assert reason, f"{found[1]} has no reason"
            skipped.add(found[1])
        else:
            assert line.startswith("  # "), line
            reason = line
    done = subprocess.run(
        [
            PYTHON,
            PYTHON.with_name("checkov"),
            "-d",
            SOURCE,
            "--framework",
            "terraform",
            "--skip-download",
            "-o",
            "json",
            "--quiet",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    results = json.loads(done.stdout)
    assert results["summary"]["passed"] > 50, done.stderr
    assert results["summary"]["parsing_errors"] == 0
    failed = {check["check_id"]: check["resource"] for check in results["results"]["failed_checks"]}
    assert set(failed) <= skipped, {id_: resource for id_, resource in failed.items() if id_ not in skipped}
    assert skipped <= set(failed), f"no longer found: {skipped - set(failed)}"


def test_every_alert_leads_to_a_page_that_tells_what_to_do():
    alerts = (SOURCE / "alerts.tf").read_text()
    for document, heading in re.findall(r"`(docs/\w+\.md)`(?:, \\\"([^\\]+)\\\")?", alerts):
        text = (ROOT / document).read_text()
        assert not heading or re.search(rf"^## {re.escape(heading)}", text, re.MULTILINE), f"{document}: {heading}"


def table_rows(document, heading):
    """The cells of each row of the table under a heading."""
    text = (ROOT / "docs" / f"{document}.md").read_text()
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def names_in(cell):
    """The words that stand in a cell as code."""
    return {name for code in re.findall(r"`([^`]+)`", cell) for name in code.split()}


def test_every_event_that_is_logged_is_told_with_fields_that_it_has():
    told = {names_in(row[0]).pop(): names_in(row[2]) for row in table_rows("metrics", "What is logged")}
    assert set(told) == set(logged_events())
    for event, fields in told.items():
        assert fields <= logged_events()[event], f"{event} has no {fields - logged_events()[event]}"


def test_every_metric_and_alert_is_told_as_it_is(plan):
    told = {names_in(row[0]).pop(): set(row[1].split(", ")) - {""} for row in table_rows("metrics", "What is counted")}
    assert told == {name: set(metric["label_extractors"] or {}) for name, metric in metrics(plan).items()}
    alerts = {row[0] for row in table_rows("metrics", "What alarms")}
    assert alerts == {r.key or r.name for r in plan.all("google_monitoring_alert_policy")}


def test_every_need_is_told_with_its_roles():
    rows = {need: row[1] for row in table_rows("architecture", "Who may what") for need in names_in(row[0])}
    code = (SOURCE / "accounts.tf").read_text()
    needs = re.findall(r"^    (\w+)\s+= \{ code = .*bucket_role = (\S+),", code, re.MULTILINE)
    assert {need for need, _ in needs} == set(rows)
    for need, role in needs:
        assert role == "null" or role.strip('"').removeprefix("roles/") in rows[need], need


def test_every_setting_is_told():
    text = (ROOT / "docs" / "configuration.md").read_text()
    told = {name for line in text.splitlines() if line.startswith("| `") for name in names_in(line.split("|")[1])}
    told = {name.strip(",") for name in told}
    assert told == names_that_config_reads() - {"K_SERVICE"}


@pytest.mark.parametrize("name", [*DOCS, "authentication"])
def test_the_operators_commands_in_the_documents_are_ones(name, capsys):
    text = (ROOT / "docs" / f"{name}.md").read_text()
    for command, rest in re.findall(r"python -m tools\.accounts ([a-z][\w-]*)([^`\n]*)", text):
        with pytest.raises(SystemExit) as ended:
            accounts.main([command, "--help"])
        assert ended.value.code == 0, command
        usage = capsys.readouterr().out
        for flag in re.findall(r"--[a-z-]+", rest):
            assert flag in usage, f"{command} {flag}"


@pytest.mark.parametrize("name", DOCS)
def test_resources_in_the_documents_exist(name):
    """What commands name of Terraform's: jobs, queues, accounts, services, secrets, the database."""
    text = (ROOT / "docs" / f"{name}.md").read_text()
    code = "\n".join(path.read_text() for path in SOURCE.rglob("*.tf"))
    for resource, key in re.findall(r"`(google_\w+)\.(\w+)`", text):
        assert f'resource "{resource}" "{key}"' in code, f"{resource}.{key}"
    for secret in re.findall(r"(?:--secret=|secrets versions add )([\w-]+)", text):
        assert f'"{secret.replace("-", "_")}"' in (SOURCE / "secrets.tf").read_text(), secret
    for instance in re.findall(r"gcloud sql instances clone (\S+)", text):
        assert f'name                = "{instance}"' in (SOURCE / "database.tf").read_text(), instance

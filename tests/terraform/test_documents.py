"""The documents beside the configuration say what it is."""

import json
import re
import subprocess
import sys

import pytest

from tests.terraform.terraform import PYTHON, ROOT, SOURCE

DOCS = ("architecture", "blueprint", "costs", "deployment", "metrics", "runbook", "scaling")


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


@pytest.mark.parametrize("name", DOCS)
def test_links_between_documents_lead_somewhere(name):
    path = ROOT / "docs" / f"{name}.md"
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
        assert target.startswith("https://") or (path.parent / target).exists(), target


@pytest.mark.parametrize("name", DOCS)
def test_commands_and_names_in_the_documents_exist(name):
    text = (ROOT / "docs" / f"{name}.md").read_text()
    for target in re.findall(r"`make ([a-z][a-z-]*)`", text):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"make {target}"
    for module in re.findall(r"python -m (tools[\w.]*)", text):
        as_path = ROOT / module.replace(".", "/")
        assert as_path.with_suffix(".py").exists() or (as_path / "__main__.py").exists(), module
    for file in re.findall(r"`(terraform/[\w./-]+|common/[\w./-]+|functions/[\w./-]+|tests/[\w./-]+)`", text):
        assert (ROOT / file).exists(), file


def test_every_alert_leads_to_a_page_that_tells_what_to_do():
    alerts = (SOURCE / "alerts.tf").read_text()
    for document, heading in re.findall(r"`(docs/\w+\.md)`(?:, \\\"([^\\]+)\\\")?", alerts):
        text = (ROOT / document).read_text()
        assert not heading or re.search(rf"^## {re.escape(heading)}", text, re.MULTILINE), f"{document}: {heading}"

"""What the documents lead to is there."""

import re

import pytest

from tests.conftest import ROOT

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS += [ROOT / "terraform" / "README.md", ROOT / "clients" / "python" / "README.md"]
every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def prose(document):
    """Without the blocks of code, where a bracket is no link and a hash no heading."""
    return re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(document):
    """Of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_document
def test_links_lead_somewhere(document):
    for path, anchor in re.findall(r"\]\((?!https://)([^)#]*)(?:#([^)]*))?\)", prose(document)):
        target = document.parent / path if path else document
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


@every_document
def test_commands_and_names_exist(document):
    text = document.read_text()
    for target in re.findall(r"\bmake ([a-z][a-z-]*)(?:`|  )", text):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"make {target}"
    for module in re.findall(r"python -m (tools[\w.]*)", text):
        as_path = ROOT / module.replace(".", "/")
        assert as_path.with_suffix(".py").exists() or (as_path / "__main__.py").exists(), module
    for file in re.findall(r"`((?:terraform|common|functions|tests|tools|docs|clients|migrations)/[\w./-]+)`", text):
        assert (ROOT / file).exists(), file


def test_every_document_is_led_to_from_the_readme():
    linked = {ROOT / path for path in re.findall(r"\]\(([\w./-]+\.md)", DOCUMENTS[0].read_text())}
    assert set(DOCUMENTS[1:]) <= linked

"""The page of students: what was found stands first, then what was taught and what they write."""

import re
from html import unescape

import pytest

from reasoning_anatomy.run.students import Arm, Student
from reports import write_students_report
from reports.figures.student_accuracy import StudentAccuracy


@pytest.fixture(scope="module")
def page(taught_students, tmp_path_factory):
    return write_students_report(taught_students, tmp_path_factory.mktemp("students_page") / "students.html")


def plain_text(html):
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))


def test_the_page_begins_with_the_finding_and_shows_every_arm(page, taught_students):
    html = page.read_text(encoding="utf-8")
    parts = [html.index(f'<section id="{part}">') for part in ("findings", "distillation", "training", "writing", "provenance")]
    assert parts == sorted(parts)
    finding = taught_students.analysis("distillation").finding
    assert "".join(finding.split()) in plain_text(html[parts[0] : parts[1]]).replace(" ", "")
    assert 'id="figure-student_accuracy"' in html[parts[1] : parts[2]]
    arms = dict.fromkeys(student.arm.label for student in taught_students.manifest.students)
    writing = html[parts[3] : parts[4]]
    assert all(f"<summary>{label}" in writing for label in arms)


def test_what_is_taught_and_what_is_written_stand_side_by_side(page):
    html = page.read_text(encoding="utf-8")
    of_arm = html[html.index("<summary>greedy at 0.7, seed 0") :]
    of_arm = plain_text(of_arm[: of_arm.index("</details>")])
    assert "asked Taught? taught greedy keeps 28 5" in of_arm
    assert re.search(r"asked Q q0 written think \w \d (correct|wrong) \(gold answer: 5\); 4\d tokens", of_arm)


def test_the_same_students_give_the_same_bytes_and_without_a_result_the_page_names_the_command(
    page, taught_students, make_students, tmp_path
):
    assert write_students_report(taught_students, tmp_path / "again.html").read_bytes() == page.read_bytes()
    student = Student(arm=Arm(strategy="full", keep_ratio=1.0))
    alone = make_students(tmp_path / "alone", {student: {"q0": ("l", 3)}})
    html = write_students_report(alone).read_text(encoding="utf-8")
    assert "python -m analyses.distillation STUDENTS" in html
    assert "3 tokens, cut off" in html


def test_tables_of_the_figure_are_those_of_the_analysis(taught_students):
    result = taught_students.analysis("distillation")
    tables = StudentAccuracy().summary(result)
    assert list(tables)[:2] == ["What the arms answer", "Beside whole chains"]
    (arms,), (versus,) = (tables[name] for name in list(tables)[:2])
    assert arms["accuracy"].tolist() == result.details["arms"]["accuracy"].tolist()
    expected = result.details["comparisons"].query("control == 'full'")
    assert versus["difference"].tolist() == expected["estimate"].tolist()
    assert versus["verdict"].tolist() == expected["verdict"].tolist()


@pytest.mark.parametrize("look", [("light", 1200), ("dark", 400)], ids=str)
def test_there_is_no_serious_obstacle_for_anyone(page, open_any_page, look):
    from axe_playwright_python.sync_playwright import Axe

    scheme, width = look
    opened = open_any_page(page.as_uri(), bypass_csp=True, color_scheme=scheme, viewport={"width": width, "height": 900})
    violations = Axe().run(opened).response["violations"]
    assert [
        (each["id"], [node["html"][:90] for node in each["nodes"][:3]])
        for each in violations
        if each["impact"] in {"serious", "critical"}
    ] == []
    assert opened.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing is cut at the side"

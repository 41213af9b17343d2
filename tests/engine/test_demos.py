"""What a demo prints is recorded by running it, and stands below the lines that printed it."""

import json
from pathlib import Path

import pytest
from mkdocstrings import CollectionError
from mkdocstrings_handlers.annotated.read.module import read_module
from mkdocstrings_handlers.annotated.understand import demos

from mkdocstrings_handlers.annotated import AnnotatedHandler
from tools import demo, notebook

MODULE = '''"""# Two steps"""


def step(n):
    print("step", n)


if __name__ == "__main__":
    # ## First
    step(1)
    x = 2
    # ## Second
    for n in range(x):
        step(n)
    # ## Silent
    x += 1
'''


@pytest.fixture
def module(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(notebook, "ROOT", project)
    path = project / "steps.py"
    path.write_text(MODULE)
    return path


def shown(source: str, printed: demos.Printed) -> dict[str, str]:
    sections = demos.with_printed(read_module(source), source, printed)
    return {
        section.anchor: "".join(output.data for output in section.outputs)
        for section in sections
    }


def test_each_text_stands_in_the_section_that_printed_it(module: Path) -> None:
    texts = shown(MODULE, demos.run(module))
    assert {anchor: text for anchor, text in texts.items() if text} == {
        "first": "step 1\n",
        "second": "step 0\nstep 1\n",
    }
    assert "silent" in texts


def test_a_comment_added_later_leaves_a_record_valid(module: Path) -> None:
    printed = demos.run(module)
    longer = MODULE.replace(
        "    # ## Second\n", "    # ## Second\n    # More of it.\n    # And more.\n"
    )
    assert shown(longer, printed) == shown(MODULE, printed)


def test_prose_runs_no_demo_again_and_code_does(
    module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = module.parent / "records"

    def runs() -> bool:
        assert demo.main(str(records), str(module)) == 0
        return "running steps.py" in capsys.readouterr().out

    assert runs()
    assert not runs()
    module.write_text(MODULE.replace("## First", "## The first"))
    assert not runs()
    module.write_text(MODULE.replace("x = 2", "x = 3"))
    assert runs()
    assert json.loads((records / "steps.json").read_text())["printed"][-1] == [
        2,
        "step 0\nstep 1\nstep 2\n",
    ]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("assert not 1", "AssertionError"),
        ('import warnings; warnings.warn("old")', "UserWarning: old"),
    ],
)
def test_a_demo_that_raises_or_warns_fails_with_its_line(
    module: Path, capsys: pytest.CaptureFixture[str], wrong: str, says: str
) -> None:
    module.write_text(MODULE.replace("x = 2", wrong))
    assert demo.main(str(module.parent / "records"), str(module)) == 1
    line = MODULE.split("\n").index("    x = 2") + 1
    said = f"steps.py:{line}: the demo raised {says} (`python -m steps` shows the way there)"
    assert capsys.readouterr().err.strip() == said
    assert not (module.parent / "records" / "steps.json").exists()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("x = (2", "'(' was never closed."),
        (
            'x = "$\\code{x}{x}$"',
            'invalid escape sequence \'\\c\'. Begin the string with r""" to keep its backslashes.',
        ),
    ],
)
def test_what_is_no_python_is_named_with_its_own_line(
    module: Path, capsys: pytest.CaptureFixture[str], wrong: str, says: str
) -> None:
    module.write_text(MODULE.replace("x = 2", wrong))
    assert demo.main(str(module.parent / "records"), str(module)) == 1
    line = MODULE.split("\n").index("    x = 2") + 1
    assert capsys.readouterr().err.strip() == f"steps.py:{line}: {says}"


def test_a_command_line_is_not_a_demo() -> None:
    assert demos.demo('if __name__ == "__main__":\n    sys.exit(main())\n') == []
    assert demos.demo("x = 1\n") == []


def test_the_page_shows_the_record_and_asks_for_a_missing_one(
    module: Path, handler: AnnotatedHandler
) -> None:
    handler.recorded = "records"
    options = handler.get_options({})
    with pytest.raises(CollectionError, match="steps: its demo has not been run"):
        handler.collect("steps", options)
    assert demo.main(str(module.parent / "records"), str(module)) == 0
    html = handler.render(handler.collect("steps", options), options)
    assert html.count("<samp>") == 2
    assert html.index("<samp>step 1") < html.rindex("Second") < html.index("<samp>step 0")

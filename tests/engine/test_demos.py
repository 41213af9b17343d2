"""What a demo prints is recorded by running it, and stands below the lines that printed it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mkdocstrings import CollectionError

from mkdocstrings_handlers.annotated import AnnotatedHandler
from mkdocstrings_handlers.annotated.document import Document, Source
from mkdocstrings_handlers.annotated.read.module import read_module
from mkdocstrings_handlers.annotated.read.source import demo
from mkdocstrings_handlers.annotated.understand import run

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
    monkeypatch.chdir(project)
    path = project / "steps.py"
    path.write_text(MODULE)
    return path


def texts(source: Source, records: Path) -> dict[str, str]:
    document = run.recorded(Document("steps", source, read_module(source)), records)
    return {
        section.anchor: "".join(output.data for output in section.outputs)
        for section in document.sections
    }


def test_each_text_stands_in_the_section_that_printed_it(module: Path) -> None:
    assert run.main("records", "steps.py") == 0
    printed = texts(Source.read(module), Path("records"))
    assert {anchor: text for anchor, text in printed.items() if text} == {
        "first": "step 1\n",
        "second": "step 0\nstep 1\n",
    }
    assert "silent" in printed


def test_a_comment_added_later_leaves_a_record_valid(module: Path) -> None:
    assert run.main("records", "steps.py") == 0
    longer = MODULE.replace(
        "    # ## Second\n", "    # ## Second\n    # More of it.\n    # And more.\n"
    )
    records = Path("records")
    assert texts(Source(longer), records) == texts(Source(MODULE), records)


def test_a_demo_is_run_once_for_what_it_prints_and_once_more_to_compare(module: Path) -> None:
    module.write_text(
        MODULE.replace(
            "    x = 2\n",
            "    x = 2\n    Path('runs').write_text(Path('runs').read_text() + 'x')\n",
        ).replace('"""# Two steps"""', '"""# Two steps"""\nfrom pathlib import Path')
    )
    Path("runs").write_text("")
    assert run.main("records", "steps.py") == 0
    assert Path("runs").read_text() == "xx"
    assert json.loads(Path("records/steps.json").read_text())["printed"][0] == [0, "step 1\n"]


def test_prose_runs_no_demo_again_and_code_does(
    module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = module.parent / "records"

    def runs() -> bool:
        assert run.main(str(records), str(module)) == 0
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
    assert run.main(str(module.parent / "records"), str(module)) == 1
    line = MODULE.split("\n").index("    x = 2") + 1
    message = f"steps.py:{line}: the demo raised {says} (`python -m steps` shows the way there)"
    assert capsys.readouterr().err.strip() == message
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
    assert run.main(str(module.parent / "records"), str(module)) == 1
    line = MODULE.split("\n").index("    x = 2") + 1
    assert capsys.readouterr().err.strip() == f"steps.py:{line}: {says}"


def test_a_command_line_is_not_a_demo() -> None:
    assert demo(Source('if __name__ == "__main__":\n    sys.exit(main())\n').tree) == []
    assert demo(Source("x = 1\n").tree) == []


def test_the_page_shows_the_record_and_asks_for_a_missing_one(
    module: Path, handler: AnnotatedHandler
) -> None:
    handler.records = module.parent / "records"
    options = handler.get_options({})
    with pytest.raises(CollectionError, match="steps: its demo has not been run"):
        handler.collect("steps", options)
    assert run.main(str(module.parent / "records"), str(module)) == 0
    html = handler.render(handler.collect("steps", options), options)
    assert html.count("<samp>") == 2
    assert html.index("<samp>step 1") < html.rindex("Second") < html.index("<samp>step 0")


def test_it_is_a_program_that_warns_of_nothing(module: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "mkdocstrings_handlers.annotated"]
    done = subprocess.run([*command, "records", "steps.py"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "running steps.py\n", "")
    assert Path("records/steps.json").is_file()

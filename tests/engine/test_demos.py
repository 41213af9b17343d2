"""What a demo prints is recorded by running it, and stands below the lines that printed it."""

from pathlib import Path

import pytest
from mkdocstrings import CollectionError
from mkdocstrings_handlers.annotated.read.module import read_module
from mkdocstrings_handlers.annotated.understand import demos

from mkdocstrings_handlers.annotated import AnnotatedHandler
from tools import run

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
    monkeypatch.setattr(run, "ROOT", project)
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
    run.make_record(module, module.parent / "records" / "steps.json")
    html = handler.render(handler.collect("steps", options), options)
    assert html.count("<samp>") == 2
    assert html.index("<samp>step 1") < html.rindex("Second") < html.index("<samp>step 0")

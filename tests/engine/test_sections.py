"""What becomes of a module: which sections, in which order, under which names."""

from textwrap import dedent

from mkdocstrings_handlers.annotated.document import Section, Source
from mkdocstrings_handlers.annotated.read.module import read_module, slug
from mkdocstrings_handlers.annotated.read.source import headings, split_fences, unfenced


def read(source: str) -> list[Section]:
    return read_module(Source(dedent(source).lstrip("\n")))


def test_a_docstring_stands_beside_its_def_line_and_the_code_below_it() -> None:
    (section,) = read('''
        def f(x):
            """Doubles."""

            return x * 2
        ''')
    assert section.prose == "Doubles."
    assert section.code == "def f(x):\n    return x * 2"
    assert section.code_lines == (1, 4)
    assert (section.kind, section.anchor) == ("function", "f")


def test_decorators_come_along_with_their_function() -> None:
    sections = read('''
        x = 1
        @cache
        def f():
            """Doc."""
        ''')
    assert sections[1].code == "@cache\ndef f():"


def test_a_comment_block_opens_a_section_up_to_the_next() -> None:
    sections = read("""
        # One
        # two.
        a = 1

        b = 2
        # Three.
        c = 3
        """)
    assert [s.prose for s in sections] == ["One\ntwo.", "Three."]
    assert sections[0].code == "a = 1\n\nb = 2"
    assert sections[0].code_lines == (3, 4, 5)


def test_trailing_comments_pragmas_and_strings_stay_code() -> None:
    source = """
        #!/usr/bin/env python
        # -*- coding: utf-8 -*-
        a = 1  # trailing
        # fmt: off
        b = "# not a comment"
        # type: ignore
        c = '''
        # nor this
        '''
        """
    (section,) = read(source)
    assert section.prose == ""
    assert section.code == dedent(source).strip()


def test_comments_inside_brackets_stay_code() -> None:
    (section,) = read("""
        x = f(
            # the first
            1,
        )
        """)
    assert not section.prose
    assert section.code_lines == (1, 2, 3, 4)


def test_comments_between_decorator_and_docstring_stay_code() -> None:
    (section,) = read('''
        @a
        # why
        def f(
            # an argument
            x,
        ):
            # before the docstring
            """Doc."""
        ''')
    assert section.prose == "Doc."
    assert section.code.count("#") == 3


def test_a_comment_directly_below_a_header_does_a_docstrings_work() -> None:
    first, second = read("""
        x = 1


        def f():
            # What it does.
            return 1
        """)
    assert first.code == "x = 1"
    assert (second.prose, second.kind, second.anchor) == ("What it does.", "function", "f")
    assert second.code == "def f():\n    return 1"


def test_a_comment_above_a_definition_joins_its_docstring() -> None:
    (section,) = read('''
        # ## Heading

        class A:
            """Doc."""
        ''')
    assert section.prose == "## Heading\n\nDoc."
    assert (section.kind, section.name, section.code) == ("class", "A", "class A:")


def test_a_comment_at_the_end_of_a_function_does_not_join_the_next() -> None:
    sections = read('''
        def f():
            """F."""
            # never reached


        def g():
            """G."""
        ''')
    assert [s.prose for s in sections] == ["F.", "never reached", "G."]


def test_imports_are_folded_into_the_introduction() -> None:
    source = '''
        """# Title"""

        from __future__ import annotations

        # Third party
        import torch
        if TYPE_CHECKING:
            import os

        X = 1
        '''
    (section,) = read(source)
    assert section.prose == "# Title"
    folded = section.code.split("\n")[: section.folded]
    assert "import torch" in folded
    assert "    import os" in folded
    assert "X = 1" not in folded


def test_the_demo_is_a_section_of_its_own() -> None:
    sections = read('''
        def f():
            """F."""
            return 1


        if __name__ == "__main__":
            # ## See it work
            f()
        ''')
    assert sections[0].code == "def f():\n    return 1"
    assert sections[1].kind == "demo"
    assert sections[1].anchor == "see-it-work"
    assert sections[1].code == 'if __name__ == "__main__":\n    f()'


def test_prose_lines_say_where_each_line_of_prose_stands() -> None:
    section = read('''
        def f():
            """

            First.

              Indented.
            """
        ''')[0]
    assert section.prose == "First.\n\n  Indented."
    assert section.prose_lines == (4, 5, 6)


def test_indentation_of_a_list_in_a_comment_is_kept() -> None:
    section = read("""
        # * one
        #   goes on
        x = 1
        """)[0]
    assert section.prose == "* one\n  goes on"


def test_methods_have_qualified_names_and_sections_in_them_their_scope() -> None:
    sections = read('''
        class A:
            """A."""

            def f(self):
                """F."""
                # Step one
                return 1
        ''')
    assert [s.anchor for s in sections] == ["A", "A.f", "A.f--step-one"]


def test_an_anchor_does_not_depend_on_other_sections() -> None:
    source = "# First words here\na = 1\n# Other words\nb = 2\n"
    before = read(source)[1].anchor
    after = read("# A new first section\nz = 0\n" + source)[2].anchor
    assert before == after == "other-words"


def test_equal_beginnings_get_different_anchors() -> None:
    anchors = [s.anchor for s in read("# Same\na = 1\n# Same\nb = 2\n")]
    assert anchors == ["same", "same-2"]


def test_formulas_and_link_targets_are_not_part_of_an_anchor() -> None:
    assert (
        slug(r"Divide by $I - 1$, as [others](https://example.org) don't.")
        == "divide-by-as-others-dont"
    )
    assert (
        slug("## A heading of more words than six in all")
        == "a-heading-of-more-words-than-six-in-all"
    )


def test_windows_line_ends_byte_order_mark_and_form_feed() -> None:
    sections = read("\ufeff# One\r\na = 1\r\n\x0c\r\n# Two\r\nb = 2\r\n")
    assert [(s.prose, s.code.strip()) for s in sections] == [("One", "a = 1"), ("Two", "b = 2")]


def test_an_empty_module_is_one_empty_section() -> None:
    (section,) = read("")
    assert (section.prose, section.code) == ("", "")


def test_a_definition_without_prose_has_a_section_of_its_own() -> None:
    sections = read('''
        class A:
            """A."""

            def __init__(self):
                self.x = 1

            def f(self):
                """F."""

            def g(self):
                return 2


        class B:
            def h(self):
                """H."""

            @property
            def p(self):
                return 3

            @p.setter
            def p(self, x):
                pass


        def k():
            def inner():
                return 4

            return inner
        ''')
    assert [(s.anchor, s.kind, s.prose) for s in sections] == [
        ("A", "class", "A."),
        ("A.f", "function", "F."),
        ("A.g", "function", ""),
        ("B", "class", ""),
        ("B.h", "function", "H."),
        ("B.p", "function", ""),
        ("k", "function", ""),
    ]
    # What lies in a class beside its docstring stays there; what is defined amid a function's lines as well.
    assert "self.x = 1" in sections[0].code
    assert sections[5].code.count("def p") == 2
    assert "return inner" in sections[6].code


def test_of_two_definitions_with_one_name_that_which_is_explained_keeps_it() -> None:
    sections = read('''
        @overload
        def f(x: int) -> int: ...
        @overload
        def f(x: str) -> str: ...
        def f(x):
            """F."""
        ''')
    assert [(s.anchor, s.prose) for s in sections] == [("f-2", ""), ("f", "F.")]


def test_a_title_like_a_functions_name_leaves_the_function_its_anchor() -> None:
    source = Source(
        '"""# Softmax"""\n\n\n# Softmax\nx = 1\n\n\ndef softmax(x):\n    """Sums to 1."""\n'
    )
    assert [s.anchor for s in read_module(source, "page")] == [
        "page",
        "softmax",
        "page.softmax",
    ]
    assert [s.anchor for s in read_module(source)] == ["softmax-2", "softmax-3", "softmax"]


def test_comments_between_decorators_and_under_the_header_stand_once() -> None:
    source = """
        @a
        # between
        @b
        def f():
            # under
            return 1
        """
    (section,) = read(source)
    assert (section.prose, section.anchor) == ("under", "f")
    assert section.code == "@a\n# between\n@b\ndef f():\n    return 1"


def test_a_comment_behind_a_docstring_is_its_last_paragraph() -> None:
    sections = read('''
        def f():
            """F."""  # And this.


        def g():
            """
            G.
            """  # noqa: D200
        ''')
    assert [(s.prose, s.prose_lines) for s in sections] == [
        ("F.\n\nAnd this.", (2, 2, 2)),
        ("G.", (7,)),
    ]


def test_a_joined_line_shifts_no_number_after_it() -> None:
    source = '''
        def f():
            """\\
            One \\
            goes on.

            Two\\\\
            three.
            """
        '''
    (section,) = read(source)
    assert section.prose == "One     goes on.\n\nTwo\\\nthree."
    assert section.prose_lines == (2, 5, 6, 7)
    raw = read(source.replace('"""', 'r"""', 1))[0]
    assert raw.prose_lines == (2, 3, 4, 5, 6, 7)


def test_a_rule_of_signs_is_no_heading() -> None:
    sections = read("""
        # ##########
        # ## Heading
        # ##########
        x = 1
        ##
        #
        y = 2
        """)
    assert [(s.prose, s.anchor) for s in sections] == [("## Heading", "heading")]
    assert sections[0].prose_lines == (2,)
    assert sections[0].code.endswith("##\n#\ny = 2")


def test_words_of_any_script_are_an_anchor() -> None:
    assert slug("## Нормализация весов") == "нормализация-весов"
    assert slug("## 重みの標準化") == "重みの標準化"
    assert slug("Größe von `running_mean`") == "größe-von-running-mean"


def test_a_heading_in_a_fence_is_none() -> None:
    text = "~~~~\n# no\n~~~\n# nor this\n~~~~\n\n````md\n```\n# no\n```\n````\n## Yes\n`````\n# open to the end"
    assert [m[2] for m in headings(text)] == ["Yes", "open to the end"]
    assert "".join(split_fences(text)) == text
    assert len(unfenced(text)) == len(text)

"""
# What a name stands for

In `F.layer_norm`, what is `F`? Whatever the file's imports say it is, unless a parameter, an assignment or a loop has taken the name for something else.
It is never known by its spelling. Where there is any doubt this module says nothing, and the page has one link less.

A file is walked once, the way Python's compiler does it, scope by scope. Everything that asks about names asks this walk: the links in the code and in the prose,
the formulas for the names that they may use, the recording of a demo for the lines that bind a value.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..document import Source

FROM = re.compile(r"from\s+\.*")
Node = ast.Name | ast.Attribute
Binder = ast.stmt | ast.arg | ast.NamedExpr


@dataclass(frozen=True)
class Reference:
    """
    A stretch of a line that names something: where it starts and where it could end, with what it then stands for. The longest comes first:
    `F.relu.__name__` stands for nothing that has a page, but `F.relu` does.
    """

    line: int
    start: int
    ends: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Binding:
    """
    A place where a name is given a value: by a parameter, an assignment, a loop, a `with`, a `:=`. `node` is the parameter, the `:=` or the statement, `line` the last
    line of it, or of its header if it has a body; `name` is as it's written, `x` or `self.x`; `scope` is the qualified name of the function or class around it.
    `value` is the expression that an assignment or a default gives.
    """

    node: Binder
    line: int
    name: str
    scope: str
    value: ast.expr | None = None


@dataclass
class Scope:
    """
    ## A scope

    The names that a module, a class, a function or a comprehension binds, each with the dotted name of what it stands for. `None` is a value:
    nothing that has a page. `instance` is what a method calls its object, `self` as a rule.
    """

    name: str
    kind: str
    parent: Scope | None = None
    bound: dict[str, str | None] = field(default_factory=dict)
    bases: Sequence[ast.expr] = ()
    instance: str = ""

    def bind(self, name: str, target: str | None = None) -> None:
        """A name that is bound twice, to different things, could be either: so it's a value."""
        self.bound[name] = target if self.bound.get(name, target) == target else None

    def look_up(self, name: str) -> tuple[str | None, Scope | None]:
        """
        What a name stands for, and the scope that says so: from the inside out. A method doesn't see its class's names, and after `from x import *` nobody knows.
        """
        scope: Scope | None = self
        while scope:
            visible = scope is self or scope.kind != "class"
            if visible and (name in scope.bound or "*" in scope.bound):
                return (None if "*" in scope.bound else scope.bound[name]), scope
            scope = scope.parent
        return None, None


class Scopes(ast.NodeVisitor):
    """
    ## The walk

    `module` is the dotted name of the file; without one, what it defines has no name to be known by. What the walk leaves behind:

    * `scopes`: each scope, by its qualified name
    * `names`: what is named in each, bound or not
    * `used`: every name and chain of attributes, with the scope that it stands in
    * `imported`: every name in an import, with what it imports
    * `bindings`: where names are given values, in the order of the file
    """

    def __init__(self, source: Source, module: str = "") -> None:
        self.source, self.module = source, module
        package = source.path is not None and source.path.stem == "__init__"
        self.around = module.split(".") if package else module.split(".")[:-1]
        self.scope = self.top = Scope("", "module")
        self.scopes = {"": self.top}
        self.names: dict[str, set[str]] = defaultdict(set)
        self.used: list[tuple[Node, Scope]] = []
        self.imported: list[tuple[ast.alias | ast.ImportFrom, str]] = []
        self.bindings: list[Binding] = []
        self.statement: ast.stmt = ast.Pass()
        self.visit(source.tree)

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.stmt):
            self.statement = node
        super().visit(node)

    # ### Names
    #
    # A name that is read is noted with the scope it is read in; one that is written belongs to that scope.

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.used.append((node, self.scope))
            self._mention(node.id)
        else:
            self._bind(node.id)
            self._value(node.id, node.ctx)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        parts: list[ast.expr] = [node]
        while isinstance(parts[-1], ast.Attribute):
            parts.append(parts[-1].value)
        if not isinstance(parts[-1], ast.Name):
            self.generic_visit(node)
            return
        self.used.append((node, self.scope))
        self._mention(parts[-1].id)
        if parts[-1].id == "self" and isinstance(parts[-2], ast.Attribute):
            name = f"self.{parts[-2].attr}"
            self.names[self._owner()].add(name)
            if len(parts) == 2:
                self._value(name, node.ctx)

    def visit_keyword(self, node: ast.keyword) -> None:
        self.names[self.scope.name].update([node.arg] if node.arg else [])
        self.visit(node.value)

    def _mention(self, name: str) -> None:
        """What Python itself brings along is no name of the module's."""
        if not hasattr(builtins, name):
            self.names[self.scope.name].add(name)

    def _owner(self) -> str:
        """The class that a method belongs to."""
        scope: Scope | None = self.scope
        while scope and scope.kind != "class":
            scope = scope.parent
        return scope.name if scope else self.scope.name

    def _bind(self, name: str, target: str | None = None) -> None:
        self.scope.bind(name, target)
        self.names[self.scope.name].add(name)

    def _value(self, name: str, context: ast.expr_context) -> None:
        if (
            isinstance(context, ast.Store)
            and self.scope.kind != "comprehension"
            and name != "_"
        ):
            statement = self.statement
            given = (
                statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
            )
            self._note(statement, name, given)

    def _note(self, node: Binder, name: str, value: ast.expr | None) -> None:
        line = (
            (node.end_lineno or 0) if isinstance(node, ast.arg) else header(self.statement)[-1]
        )
        self.bindings.append(Binding(node, line, name, self.scope.name, value))

    # Before Python 3.12 a name in an f-string had no reliable position, so there it isn't used, only bound (`:=`).
    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        before = len(self.used)
        self.generic_visit(node)
        del self.used[before:]

    # ### Imports
    #
    # What an import binds stands for something elsewhere, so it is kept under its full name.

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            first = alias.name.partition(".")[0]
            self._bind(alias.asname or first, alias.name if alias.asname else first)
            self.imported.append((alias, alias.name))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        above = self.around[: len(self.around) - node.level + 1] if node.level else []
        origin = ".".join([*above, *filter(None, [node.module])])
        if node.module:
            self.imported.append((node, origin))
        for alias in node.names:
            target = f"{origin}.{alias.name}" if origin else None
            self._bind(alias.asname or alias.name, target)
            if target and alias.name != "*":
                self.imported.append((alias, target))

    # ### Definitions
    #
    # Decorators, defaults, annotations and base classes are evaluated outside of what they belong to.

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._define(node.name)
        self._each([*node.decorator_list, node.returns])
        static = any(
            isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list
        )
        method = self.scope.kind == "class" and not static
        self._function(node.name, node.args, node.body, method)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function("", node.args, [node.body], method=False)

    def _function(
        self, name: str, arguments: ast.arguments, body: Sequence[ast.AST], method: bool
    ) -> None:
        given = [*arguments.posonlyargs, *arguments.args]
        everything = [*given, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
        bound = [arg for arg in everything if arg]
        defaults: dict[ast.arg, ast.expr | None] = dict(
            zip(given[::-1], arguments.defaults[::-1], strict=False)
        )
        defaults |= dict(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
        self._each([*arguments.defaults, *arguments.kw_defaults])
        self._each([arg.annotation for arg in bound])
        scope = self._scope(name, "function")
        scope.instance = given[0].arg if method and given else ""
        outer, self.scope = self.scope, scope
        for arg in bound:
            self._bind(arg.arg)
            if name and arg.arg not in {"self", "cls"}:
                self._note(arg, arg.arg, defaults.get(arg))
        self.scope = outer
        self._inside(scope, body)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._define(node.name)
        self._each([*node.decorator_list, *node.bases, *node.keywords])
        scope = self._scope(node.name, "class")
        scope.bases = node.bases
        self._inside(scope, node.body)

    def _comprehension(self, node: ast.AST) -> None:
        self._inside(self._scope("", "comprehension"), list(ast.iter_child_nodes(node)))

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    def _define(self, name: str) -> None:
        place = ".".join(filter(None, [self.module, self.scope.name, name]))
        self._bind(name, place if self.module else None)

    def _scope(self, name: str, kind: str) -> Scope:
        scope = Scope(f"{self.scope.name}.{name}".strip("."), kind, self.scope)
        # Of two definitions with one name, an overload or a property's setter, the first speaks for both.
        return self.scopes.setdefault(scope.name, scope) if name else scope

    def _inside(self, scope: Scope, body: Sequence[ast.AST]) -> None:
        outer, self.scope = self.scope, scope
        self._each(body)
        self.scope = outer

    def _each(self, nodes: Sequence[ast.AST | None]) -> None:
        for node in nodes:
            if node:
                self.visit(node)

    # ### What else binds
    #
    # `:=` binds around a comprehension, `global` and `nonlocal` elsewhere. Binding in every scope on the way out can only cost a link.

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._everywhere(node.target.id)
        self.names[self.scope.name].add(node.target.id)
        self.visit(node.value)
        self._note(node, node.target.id, None)

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        for name in node.names:
            self._everywhere(name)

    visit_Nonlocal = visit_Global

    def _everywhere(self, name: str) -> None:
        scope: Scope | None = self.scope
        while scope:
            scope.bind(name)
            scope = scope.parent

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self._named(node, node.name)

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> None:
        self._named(node, node.name)

    visit_MatchStar = visit_MatchAs

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self._named(node, node.rest)

    def _named(self, node: ast.AST, name: str | None) -> None:
        if name:
            self._bind(name)
        self.generic_visit(node)

    # ## Asking it

    def references(self) -> Iterator[Reference]:
        """
        Every name in the code, in no particular order. A name inside brackets that span lines is still on one line; a chain of attributes that is broken
        over two isn't, and is left alone.
        """
        for imported, target in self.imported:
            start = self.source.column(imported.lineno, imported.col_offset)
            line = self.source.lines[imported.lineno - 1]
            spelled = (
                imported.name if isinstance(imported, ast.alias) else imported.module or ""
            )
            if isinstance(imported, ast.ImportFrom) and (before := FROM.match(line, start)):
                start = before.end()
            if line.startswith(spelled, start):
                end = start + len(spelled)
                yield Reference(imported.lineno, start, ((end, target),))
        for node, scope in self.used:
            parts: list[ast.Attribute | ast.Name] = [node]
            while isinstance(parts[-1], ast.Attribute):
                assert isinstance(parts[-1].value, ast.Attribute | ast.Name)
                parts.append(parts[-1].value)
            targets = [self._target(ast.unparse(part).split("."), scope) for part in parts]
            ends = tuple(
                (self.source.column(part.end_lineno or 0, part.end_col_offset or 0), name)
                for part, name in zip(parts, targets, strict=True)
                if name
            )
            if ends and node.lineno == node.end_lineno:
                start = self.source.column(node.lineno, node.col_offset)
                yield Reference(node.lineno, start, ends)

    def spoken(self, text: str, scope: str, kind: str) -> str | None:
        """
        What `text` stands for in a section about `scope`. A function's own names come before the module's. A class's docstring explains
        the arguments of its methods, so there an argument called `norm` comes before a function of that name.
        """
        names = text.removesuffix("()").split(".")
        around = [
            inner
            for name, inner in self.scopes.items()
            if f"{scope}.".startswith(f"{name}.")
            or (kind == "class" and name.startswith(f"{scope}."))
        ]
        if any(inner.kind == "function" and names[0] in inner.bound for inner in around):
            return None
        return self._target(names, self.scopes.get(scope, self.top))

    def _target(self, names: list[str], scope: Scope) -> str | None:
        base, where = scope.look_up(names[0])
        if base:
            return ".".join([base, *names[1:]])
        # `self.update` is the class's method of that name, or that of a base class in this file.
        if where and where.instance == names[0] and len(names) > 1 and where.parent:
            method = self._method(names[1], where.parent)
            return ".".join([method, *names[2:]]) if method else None
        return None

    def _method(
        self, name: str, owner: Scope, seen: frozenset[str] = frozenset()
    ) -> str | None:
        if name in owner.bound or owner.name in seen or not owner.parent:
            return owner.bound.get(name)
        for base in owner.bases:
            target, _ = (
                owner.parent.look_up(base.id) if isinstance(base, ast.Name) else (None, None)
            )
            inner = self.scopes.get((target or "").removeprefix(f"{self.module}."))
            if inner and (found := self._method(name, inner, seen | {owner.name})):
                return found
        return None

    def visible(self, name: str, kind: str) -> set[str]:
        """
        Which names a section of a certain `kind` about `name` sees.

        * In a function: its parameters and everything it names, and the same for the functions and classes around it.
        * In a class: its attributes, those set on `self` (written `self.x`), and whatever its methods name, as a class's docstring explains what they do.
        * Everywhere: what the module itself names. The module's own docstring may speak of anything in it.
        """
        within = kind in {"module", "class"}
        return {
            known
            for scope, names in self.names.items()
            if not scope
            or f"{name}.".startswith(f"{scope}.")
            or (within and f"{scope}.".startswith(f"{name}." if name else ""))
            for known in names
        }


def header(node: ast.stmt) -> range:
    """The lines of a statement without those of the block that it opens."""
    stop = (node.end_lineno or node.lineno) + 1
    body = getattr(node, "body", None) or getattr(node, "cases", None)
    if isinstance(body, list):
        first = getattr(body[0], "lineno", None) or body[0].pattern.lineno
        heads = [n for n in ast.iter_child_nodes(node) if getattr(n, "lineno", first) < first]
        stop = max([node.lineno, *(getattr(n, "end_lineno", 0) for n in heads)]) + 1
    return range(node.lineno, stop)

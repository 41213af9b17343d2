"""
# What a name stands for

In `F.layer_norm`, what is `F`? Whatever the file's imports say it is, unless a parameter, an assignment or a loop has taken the name for something else.
It is never known by its spelling alone. Where there is any doubt this module says nothing, and the page has one link less.

A file is walked once, the way Python's compiler does it, scope by scope. Everything that asks about names asks this walk: the links in the code and in the prose,
the formulas for the names that they may use, the recording of a demo for the lines that bind a value.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

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

    The names that a module, a class, a function or a comprehension binds, each with the dotted name of what it stands for. `None` is a value: nothing that has a
    page. `names` are all that it says, bound there or not; `instance` is what a method calls its object, `self` as a rule.
    """

    name: str
    kind: str
    parent: Scope | None = None
    bases: Sequence[ast.expr] = ()
    instance: str = ""
    bound: dict[str, str | None] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def bind(self, name: str, target: str | None = None) -> None:
        """A name that is bound twice, to different things, could be either: so it's a value."""
        self.bound[name] = target if self.bound.get(name, target) == target else None
        self.names.add(name)

    def around(self) -> Iterator[Scope]:
        """This scope and those around it, from the inside out."""
        scope: Scope | None = self
        while scope:
            yield scope
            scope = scope.parent

    def look_up(self, name: str) -> tuple[str | None, Scope | None]:
        """What a name stands for, and the scope that says so. A method doesn't see its class's names, and after `from x import *` nobody knows."""
        for scope in self.around():
            visible = scope is self or scope.kind != "class"
            if visible and (name in scope.bound or "*" in scope.bound):
                return (None if "*" in scope.bound else scope.bound[name]), scope
        return None, None


class Scopes:
    """
    ## The walk

    `module` is the dotted name of the file; without one, what it defines has no name to be known by. What the walk leaves behind:

    * `scopes`: each scope, by its qualified name
    * `used`: every name and chain of attributes, with the scope that it stands in
    * `imported`: every name in an import, with what it imports
    * `bindings`: where names are given values, in the order of the file
    """

    def __init__(self, source: Source, module: str = "") -> None:
        self.source, self.module = source, module
        package = source.path is not None and source.path.stem == "__init__"
        self.package = module.split(".") if package else module.split(".")[:-1]
        self.top = Scope("", "module")
        self.scopes = {"": self.top}
        self.used: list[tuple[Node, Scope]] = []
        self.imported: list[tuple[ast.alias | ast.ImportFrom, str]] = []
        self.bindings: list[Binding] = []
        self.statement: ast.stmt = ast.Pass()
        self._walk(source.tree.body, self.top)

    def _walk(self, nodes: Iterable[ast.AST | None], scope: Scope) -> None:
        for node in filter(None, nodes):
            if isinstance(node, ast.stmt):
                self.statement = node
            inner = list(ast.iter_child_nodes(node))
            match node:
                case ast.Import() | ast.ImportFrom():
                    self._import(node, scope)
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                    self._function(node, scope)
                case ast.ClassDef(name=name):
                    self._define(name, scope)
                    self._walk([*node.decorator_list, *node.bases, *node.keywords], scope)
                    self._walk(node.body, self._inner(name, "class", scope, bases=node.bases))
                case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                    self._walk(inner, self._inner("", "comprehension", scope))
                case ast.Name() | ast.Attribute():
                    self._name(node, scope)
                case ast.JoinedStr():
                    # Before Python 3.12 a name in an f-string had no reliable position, so there it isn't used.
                    before = len(self.used)
                    self._walk(inner, scope)
                    del self.used[before:]
                case ast.NamedExpr(target=target):
                    # It binds around a comprehension, `global` and `nonlocal` elsewhere. Binding in every scope on the way out can only cost a link.
                    self._everywhere([target.id], scope)
                    self._walk([node.value], scope)
                    self._value(node, target.id, scope)
                case ast.Global(names=names) | ast.Nonlocal(names=names):
                    self._everywhere(names, scope)
                case _:
                    self._other(node, scope)
                    self._walk(inner, scope)

    def _name(self, node: Node, scope: Scope) -> None:
        """A name or a chain of attributes. What Python itself brings along is no name of the module's."""
        chain: list[ast.expr] = [node]
        while isinstance(chain[-1], ast.Attribute):
            chain.append(chain[-1].value)
        first = chain[-1]
        stored = isinstance(node.ctx, ast.Store) and scope.kind != "comprehension"
        if not isinstance(first, ast.Name):
            self._walk([first], scope)
        elif first is node and not isinstance(node.ctx, ast.Load):
            scope.bind(first.id)
            if stored and first.id != "_":
                self._value(self.statement, first.id, scope)
        else:
            self.used.append((node, scope))
            scope.names.update([first.id] if not hasattr(builtins, first.id) else [])
            if len(chain) > 1 and first.id == "self":
                attribute = ast.unparse(chain[-2])
                classes = (outer for outer in scope.around() if outer.kind == "class")
                next(classes, scope).names.add(attribute)
                if stored and len(chain) == 2:
                    self._value(self.statement, attribute, scope)

    def _value(
        self, node: Binder, name: str, scope: Scope, value: ast.expr | None = None
    ) -> None:
        line = _last_line(self.statement)
        if isinstance(node, ast.Assign | ast.AnnAssign):
            value = node.value
        elif isinstance(node, ast.arg):
            line = node.end_lineno or line
        self.bindings.append(Binding(node, line, name, scope.name, value))

    def _everywhere(self, names: Sequence[str], scope: Scope) -> None:
        for outer in scope.around():
            for name in names:
                outer.bind(name)

    def _other(self, node: ast.AST, scope: Scope) -> None:
        match node:
            case (
                ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
                | ast.MatchMapping(rest=str(name))
            ):
                scope.bind(name)
            case ast.keyword(arg=str(name)):
                scope.names.add(name)

    # What an import binds stands for something elsewhere, so it is kept under its full name.
    def _import(self, node: ast.Import | ast.ImportFrom, scope: Scope) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                scope.bind(alias.asname or first, alias.name if alias.asname else first)
                self.imported.append((alias, alias.name))
            return
        above = self.package[: len(self.package) - node.level + 1] if node.level else []
        origin = ".".join([*above, *filter(None, [node.module])])
        if node.module:
            self.imported.append((node, origin))
        for alias in node.names:
            target = f"{origin}.{alias.name}" if origin else None
            scope.bind(alias.asname or alias.name, target)
            if target and alias.name != "*":
                self.imported.append((alias, target))

    # Decorators, defaults, annotations and base classes are evaluated outside of what they belong to.
    def _function(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, scope: Scope
    ) -> None:
        given = [*node.args.posonlyargs, *node.args.args]
        every = [*given, node.args.vararg, *node.args.kwonlyargs, node.args.kwarg]
        arguments = [arg for arg in every if arg]
        defaults: dict[ast.arg, ast.expr | None] = dict(
            zip(given[::-1], node.args.defaults[::-1], strict=False)
        )
        defaults |= dict(zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True))
        name, method = "", False
        if not isinstance(node, ast.Lambda):
            name = node.name
            self._define(name, scope)
            self._walk([*node.decorator_list, node.returns], scope)
            static = any(
                isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list
            )
            method = scope.kind == "class" and not static
        self._walk([*defaults.values(), *(arg.annotation for arg in arguments)], scope)
        instance = given[0].arg if method and given else ""
        function = self._inner(name, "function", scope, instance=instance)
        for arg in arguments:
            function.bind(arg.arg)
            if name and arg.arg not in {"self", "cls"}:
                self._value(arg, arg.arg, function, defaults.get(arg))
        self._walk([node.body] if isinstance(node, ast.Lambda) else node.body, function)

    def _define(self, name: str, scope: Scope) -> None:
        place = ".".join(filter(None, [self.module, scope.name, name]))
        scope.bind(name, place if self.module else None)

    def _inner(self, name: str, kind: str, scope: Scope, **more: Any) -> Scope:
        if not name:
            return Scope(scope.name, kind, scope, names=scope.names, **more)
        inner = Scope(f"{scope.name}.{name}".strip("."), kind, scope, **more)
        # Of two definitions with one name, an overload or a property's setter, the first speaks for both.
        return self.scopes.setdefault(inner.name, inner)

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
        self, name: str, owner: Scope, through: frozenset[str] = frozenset()
    ) -> str | None:
        if name in owner.bound or owner.name in through or not owner.parent:
            return owner.bound.get(name)
        for base in owner.bases:
            target, _ = (
                owner.parent.look_up(base.id) if isinstance(base, ast.Name) else (None, None)
            )
            # Of a base class from elsewhere nothing is known here.
            inner = self.scopes.get(target.removeprefix(f"{self.module}.")) if target else None
            if inner and (method := self._method(name, inner, through | {owner.name})):
                return method
        return None

    def visible(self, about: str, kind: str) -> set[str]:
        """
        Which names a section of a certain `kind` about the class or function `about` sees.

        * In a function: its parameters and everything it names, and the same for the functions and classes around it.
        * In a class: its attributes, those set on `self` (written `self.x`), and whatever its methods name, as a class's docstring explains what they do.
        * Everywhere: what the module itself names. The module's own docstring may speak of anything in it.
        """
        within = kind in {"module", "class"}
        return {
            name
            for scope in self.scopes.values()
            if not scope.name
            or f"{about}.".startswith(f"{scope.name}.")
            or (within and f"{scope.name}.".startswith(f"{about}." if about else ""))
            for name in scope.names
        }


def _last_line(node: ast.stmt) -> int:
    """The last line of a statement, or of its header if it opens a block."""
    if not hasattr(node, "body") and not hasattr(node, "cases"):
        return node.end_lineno or node.lineno
    inner = (ast.stmt, ast.match_case, ast.ExceptHandler)
    heads = (n for n in ast.iter_child_nodes(node) if not isinstance(n, inner))
    ends = (getattr(n, "end_lineno", 0) for head in heads for n in ast.walk(head))
    return max([node.lineno, *ends])

"""
# Who binds a name

A file is walked the way Python's compiler does it, scope by scope, and each scope notes which names it binds: by an import, a definition, a parameter,
an assignment, a loop, a `with`, an `except`, a `match`. Only an import and a definition say what a name stands for; all others make it a value.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field


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

    # From the inside out. A method doesn't see its class's names, and after `from x import *` nobody knows.
    def look_up(self, name: str) -> tuple[str | None, Scope | None]:
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

    What it leaves behind: `scopes` by qualified name, `used`, every name and chain of attributes with the scope that it stands in, and `imported`,
    every name in an import with what it imports. `module` is the dotted name of the file; without one, what it defines has no name to be known by.
    """

    def __init__(self, tree: ast.Module, module: str, package: bool = False) -> None:
        self.module = module
        self.around = module.split(".") if package else module.split(".")[:-1]
        self.scope = self.top = Scope("", "module")
        self.scopes = {"": self.top}
        self.used: list[tuple[ast.Name | ast.Attribute, Scope]] = []
        self.imported: list[tuple[ast.alias | ast.ImportFrom, str]] = []
        self.visit(tree)

    # ### Names
    #
    # A name that is read is noted with the scope it is read in; one that is written belongs to that scope.

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.used.append((node, self.scope))
        else:
            self.scope.bind(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        value: ast.expr = node
        while isinstance(value, ast.Attribute):
            value = value.value
        if isinstance(value, ast.Name):
            self.used.append((node, self.scope))
        else:
            self.generic_visit(node)

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
            self.scope.bind(alias.asname or first, alias.name if alias.asname else first)
            self.imported.append((alias, alias.name))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        above = self.around[: len(self.around) - node.level + 1] if node.level else []
        origin = ".".join([*above, *filter(None, [node.module])])
        if node.module:
            self.imported.append((node, origin))
        for alias in node.names:
            target = f"{origin}.{alias.name}" if origin else None
            self.scope.bind(alias.asname or alias.name, target)
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
        self._each([*arguments.defaults, *arguments.kw_defaults])
        self._each([arg.annotation for arg in bound])
        scope = self._scope(name, "function")
        scope.instance = given[0].arg if method and given else ""
        for arg in bound:
            scope.bind(arg.arg)
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
        self.scope.bind(name, place if self.module else None)

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
        self.visit(node.value)

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
            self.scope.bind(name)
        self.generic_visit(node)

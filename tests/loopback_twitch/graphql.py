"""A small GraphQL executor: enough of the language to answer any query text over a tree of dicts.

Fields come out only when they were asked for, with aliases, arguments, variables and fragments, so a client whose text
forgets a field sees that here as it would at the real service. A dict is an object (its `__typename` names the type),
a callable value is a resolver that takes the arguments as keywords, anything else is a leaf. Not here: types of
variables, subscriptions, mutations. Language: https://spec.graphql.org/October2021/
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

TOKEN = re.compile(
    r'"""(?s:.*?)"""|"(?:\\.|[^"\\\n])*"|\.\.\.|[_A-Za-z]\w*|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?'
    r"|[!$():=@\[\]{|}]"
)
BLANK = re.compile(r"(?:[\s,\ufeff]+|#[^\n]*)+")


class QueryError(Exception):
    """The text is no query, or asks for what does not exist: an answer with errors and no data."""


@dataclass(frozen=True)
class FieldError:
    """What a resolver returns for a field that fails: `value` in its place, and an entry in the answer's errors."""

    message: str
    value: Any = None
    extensions: dict[str, Any] | None = None


@dataclass(frozen=True)
class Variable:
    name: str


@dataclass
class Selection:
    name: str  # of the field; empty for an inline fragment; "...Name" for a spread
    alias: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    directives: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    on: str = ""
    selections: list[Selection] | None = None


@dataclass
class Operation:
    name: str
    defaults: dict[str, Any]
    required: set[str]
    selections: list[Selection]


class Parser:
    """One pass over the tokens of a document."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        position = 0
        while position < len(text):
            if blank := BLANK.match(text, position):
                position = blank.end()
                continue
            token = TOKEN.match(text, position)
            if not token:
                raise QueryError(f"Syntax Error: Unexpected character at {position}")
            self.tokens.append(token[0])
            position = token.end()
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, expected: str = "") -> str:
        token = self.peek()
        if not token or (expected and token != expected):
            raise QueryError(f"Syntax Error: Expected {expected or 'a token'}, found {token or '<EOF>'}")
        self.at += 1
        return token

    def skip(self, token: str) -> bool:
        if self.peek() == token:
            self.at += 1
            return True
        return False

    def document(self) -> tuple[list[Operation], dict[str, Selection]]:
        operations: list[Operation] = []
        fragments: dict[str, Selection] = {}
        while self.peek():
            if self.peek() == "fragment":
                self.take()
                name = self.take()
                self.take("on")
                fragments[name] = Selection("", on=self.take(), selections=self.selections())
            else:
                operations.append(self.operation())
        if not operations:
            raise QueryError("Syntax Error: no operation")
        return operations, fragments

    def operation(self) -> Operation:
        name = ""
        defaults: dict[str, Any] = {}
        required: set[str] = set()
        if self.peek() != "{":
            self.take("query")
            if self.peek() not in ("(", "{", "@"):
                name = self.take()
            if self.skip("("):
                while not self.skip(")"):
                    self.take("$")
                    variable = self.take()
                    self.take(":")
                    is_required = self.type_is_required()
                    defaults[variable] = None
                    if self.skip("="):
                        defaults[variable] = self.value()
                    elif is_required:
                        required.add(variable)
        return Operation(name, defaults, required, self.selections())

    def type_is_required(self) -> bool:
        if self.skip("["):
            self.type_is_required()
            self.take("]")
        else:
            self.take()
        return self.skip("!")

    def selections(self) -> list[Selection]:
        found: list[Selection] = []
        self.take("{")
        while not self.skip("}"):
            found.append(self.selection())
        return found

    def selection(self) -> Selection:
        if self.skip("..."):
            if self.peek() not in ("on", "{", "@"):
                return Selection(f"...{self.take()}", directives=self.directives())
            on = self.take() and self.take() if self.peek() == "on" else ""
            return Selection("", on=on, directives=self.directives(), selections=self.selections())
        name = alias = self.take()
        if self.skip(":"):
            name = self.take()
        made = Selection(name, alias=alias, arguments=self.arguments(), directives=self.directives())
        if self.peek() == "{":
            made.selections = self.selections()
        return made

    def directives(self) -> list[tuple[str, dict[str, Any]]]:
        found = []
        while self.skip("@"):
            found.append((self.take(), self.arguments()))
        return found

    def arguments(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.skip("("):
            while not self.skip(")"):
                name = self.take()
                self.take(":")
                found[name] = self.value()
        return found

    def value(self) -> Any:
        token = self.take()
        if token == "$":
            return Variable(self.take())
        if token == "[":
            items = []
            while not self.skip("]"):
                items.append(self.value())
            return items
        if token == "{":
            made = {}
            while not self.skip("}"):
                name = self.take()
                self.take(":")
                made[name] = self.value()
            return made
        if token.startswith('"""'):
            return token[3:-3]
        if token.startswith('"') or token[0] in "-0123456789" or token in ("true", "false", "null"):
            return json.loads(token)
        return token  # an enumeration's name


class Execution:
    """One operation over one root, with its errors."""

    def __init__(self, operation: Operation, fragments: dict[str, Selection], variables: dict[str, Any]) -> None:
        self.fragments = fragments
        self.variables = {**operation.defaults, **{k: v for k, v in variables.items() if v is not None}}
        self.errors: list[dict[str, Any]] = []
        self.extensions: dict[str, Any] = {}
        for name in operation.required:
            if self.variables.get(name) is None:
                raise QueryError(f'Variable "${name}" of required type was not provided.')

    def fill(self, value: Any) -> Any:
        if isinstance(value, Variable):
            if value.name not in self.variables:
                raise QueryError(f'Variable "${value.name}" is not defined.')
            return self.variables[value.name]
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        return value

    def is_wanted(self, selection: Selection) -> bool:
        for name, arguments in selection.directives:
            if name in ("include", "skip") and bool(self.fill(arguments.get("if"))) != (name == "include"):
                return False
        return True

    def select(self, source: dict[str, Any], selections: list[Selection], path: list[Any]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for selection in selections:
            if not self.is_wanted(selection):
                continue
            if selection.name.startswith("..."):
                selection = self.fragments.get(selection.name[3:]) or self.unknown(selection.name[3:])
            if not selection.name:
                if selection.on in ("", source.get("__typename")):
                    result.update(self.select(source, selection.selections or [], path))
                continue
            if selection.name not in source:
                kind = source.get("__typename", "Query")
                raise QueryError(f'Cannot query field "{selection.name}" on type "{kind}".')
            where = [*path, selection.alias]
            value: Any = source[selection.name]
            if isinstance(value, Callable):  # type: ignore[arg-type]
                value = value(**{key: self.fill(argument) for key, argument in selection.arguments.items()})
            result[selection.alias] = self.complete(value, selection, where)
        return result

    def unknown(self, name: str) -> Selection:
        raise QueryError(f'Unknown fragment "{name}".')

    def complete(self, value: Any, selection: Selection, path: list[Any]) -> Any:
        if isinstance(value, FieldError):
            self.errors.append({"message": value.message, "path": path})
            self.extensions.update(value.extensions or {})
            value = value.value
        if isinstance(value, list):
            return [self.complete(item, selection, [*path, index]) for index, item in enumerate(value)]
        if isinstance(value, dict):
            if selection.selections is None:
                raise QueryError(f'Field "{selection.name}" must have a selection of subfields.')
            return self.select(value, selection.selections, path)
        return value


def execute(text: str, variables: dict[str, Any], root: dict[str, Any], name: str = "") -> dict[str, Any]:
    """The answer {"data": …, "errors": […]} to the operation `name` of a query text (the only one if name is empty)."""
    try:
        operations, fragments = Parser(text).document()
        chosen = next((operation for operation in operations if operation.name == name), operations[0])
        execution = Execution(chosen, fragments, variables)
        answer: dict[str, Any] = {"data": execution.select(root, chosen.selections, [])}
    except QueryError as error:
        return {"errors": [{"message": str(error)}]}
    if execution.errors:
        answer["errors"] = execution.errors
    answer["extensions"] = execution.extensions
    return answer

"""Systematic mutants of a short piece of code: each is the code with one small change."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

OPERATORS: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub, ast.Mult), ast.Sub: (ast.Add, ast.Mult), ast.Mult: (ast.Div, ast.Add),
    ast.Div: (ast.Mult, ast.FloorDiv), ast.FloorDiv: (ast.Mult,), ast.Pow: (ast.Mult,),
    ast.MatMult: (ast.Mult,), ast.BitAnd: (ast.BitOr,), ast.BitOr: (ast.BitAnd,),
    ast.Eq: (ast.NotEq, ast.GtE, ast.LtE), ast.NotEq: (ast.Eq,), ast.Lt: (ast.LtE, ast.Gt, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt, ast.GtE), ast.Gt: (ast.GtE, ast.Lt, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt, ast.LtE), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
    ast.And: (ast.Or,), ast.Or: (ast.And,),
}  # fmt: skip
# Calls that are mistaken for each other.
NAMES = {
    "sum": ("mean",), "mean": ("sum",), "max": ("min", "mean"), "min": ("max",), "amax": ("amin", "mean"),
    "amin": ("amax",), "argmax": ("argmin",), "argmin": ("argmax",), "exp": ("log",), "log": ("exp", "log2"),
    "log_softmax": ("softmax",), "softmax": ("log_softmax",), "logsigmoid": ("sigmoid",),
    "sigmoid": ("logsigmoid",), "square": ("abs",), "abs": ("square",), "norm": ("sum",), "xlogy": ("mul",),
    "minimum": ("maximum",), "maximum": ("minimum",), "prod": ("sum",), "round": ("floor", "trunc"),
    "sqrt": ("exp",), "rfft": ("fft",), "cumsum": ("cumprod",), "ones_like": ("zeros_like",),
    "zeros_like": ("ones_like",), "expm1": ("exp",), "float": ("half",), "flatnonzero": ("argmax",),
}  # fmt: skip
COMMUTE = ("min", "max", "minimum", "maximum")  # to exchange their arguments changes nothing
Mutant = tuple[str, str]  # the changed lines, "before -> after"; the whole code


def mutants(code: str, function: str) -> Iterator[Mutant]:
    """Yield all mutants of a function in the code, each once."""
    tree = ast.parse(code)
    body = next(x for x in tree.body if isinstance(x, ast.FunctionDef) and x.name == function)
    seen = {ast.unparse(tree)}
    arguments = [a.arg for a in body.args.args]
    for place, node in enumerate(ast.walk(body)):
        for number, _ in enumerate(changes(node, arguments)):
            other = copy.deepcopy(tree)
            inside = next(x for x in other.body if isinstance(x, ast.FunctionDef) and x.name == function)
            target = list(ast.walk(inside))[place]
            replace(inside, target, copy.deepcopy(list(changes(target, arguments))[number]))
            text = ast.unparse(ast.fix_missing_locations(other))
            if text not in seen:
                seen.add(text)
                yield difference(ast.unparse(tree), text), text


def difference(before: str, after: str) -> str:
    """The lines in which two texts differ, as "before -> after"."""
    a, b = before.splitlines(), after.splitlines()
    while a and b and a[0] == b[0]:
        a, b = a[1:], b[1:]
    while a and b and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    return " -> ".join("; ".join(line.strip() for line in lines) for lines in (a, b))


def replace(tree: ast.AST, old: ast.AST, new: ast.AST | None) -> None:
    """Put a node in another's place, or `pass` in a statement's."""
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, new)
            elif isinstance(value, list):
                value[:] = [(new or ast.Pass()) if x is old else x for x in value]


def changes(node: ast.AST, arguments: list[str]) -> Iterator[ast.AST | None]:
    """Yield what a slip may put in a node's place; None leaves a statement out."""
    if isinstance(node, ast.BinOp | ast.AugAssign):
        for op in OPERATORS.get(type(node.op), ()):
            yield with_(node, op=op())
        if isinstance(node, ast.AugAssign):
            yield None
        else:
            yield node.left
            yield node.right
            yield with_(node, left=ast.UnaryOp(ast.USub(), node.left))
            if isinstance(node.op, ast.Mult | ast.Pow):
                yield ast.BinOp(node.left, ast.Mult(), node)  # a factor twice
                yield ast.BinOp(node, ast.Mult(), node.right)
            if isinstance(node.op, ast.Sub | ast.Div | ast.Pow | ast.MatMult | ast.FloorDiv):
                yield with_(node, left=node.right, right=node.left)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        for op in OPERATORS.get(type(node.ops[0]), ()):
            yield with_(node, ops=[op()])
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.BoolOp):
        yield with_(node, op=OPERATORS[type(node.op)][0]())
    elif isinstance(node, ast.Constant):
        yield from (ast.Constant(x) for x in constants(node.value))
    elif isinstance(node, ast.Call):
        yield from calls(node)
    elif isinstance(node, ast.IfExp):
        yield node.body
        yield node.orelse
    elif isinstance(node, ast.If):
        yield with_(node, test=ast.UnaryOp(ast.Not(), node.test))
        yield None
    elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        yield node.value
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in arguments:
        yield from (ast.Name(x, ast.Load()) for x in arguments if x != node.id)
    elif isinstance(node, ast.Return) and node.value:
        yield ast.Return(ast.UnaryOp(ast.USub(), node.value))
        yield ast.Return(ast.Call(ast.Attribute(node.value, "detach", ast.Load()), [], []))
    elif isinstance(node, ast.Assign | ast.Expr):
        yield None


def with_(node: ast.AST, **fields: object) -> ast.AST:
    """A copy of the node with other fields."""
    return type(node)(**{**dict(ast.iter_fields(node)), **fields})


def constants(value: object) -> list[object]:
    """Other values that a constant may have had."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    return [2 * value, value + 1] if isinstance(value, float) else []


def calls(node: ast.Call) -> Iterator[ast.AST | None]:
    """Yield a call without one of its arguments, with two exchanged, with another name, and left out."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    for other in NAMES.get(name, ()):
        func = with_(node.func, **{"attr" if isinstance(node.func, ast.Attribute) else "id": other})
        yield with_(node, func=func)
    for i in range(len(node.args)):
        yield with_(node, args=node.args[:i] + node.args[i + 1 :])
    for i in range(len(node.keywords)):
        yield with_(node, keywords=node.keywords[:i] + node.keywords[i + 1 :])
    for i in range(0 if name in COMMUTE else len(node.args) - 1):
        yield with_(node, args=[*node.args[:i], node.args[i + 1], node.args[i], *node.args[i + 2 :]])
    if isinstance(node.func, ast.Attribute):
        yield node.func.value  # x.detach() -> x
    if node.args:
        yield node.args[0]  # f(x) -> x


def spoiling(answer: Callable[..., Any], place: int) -> tuple[Callable[..., Any], list[bool]]:
    """The answer, which after its work changes one of its arguments in place; and whether it could."""
    done: list[bool] = []

    def asked(*given: Any) -> Any:
        got, x = answer(*given), given[place]
        if isinstance(x, list):
            x.append(x[0])
        elif isinstance(x, torch.Tensor | np.ndarray):
            with torch.no_grad():
                x[...] = ~x if x.dtype in (torch.bool, np.dtype(bool)) else x + 1
        else:
            return got
        done.append(True)
        return got

    return asked, done

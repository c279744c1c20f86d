"""Which private attributes the objects of a program have, class by class."""

import ast
import builtins
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .program_modules import Module
from .scopes import Scope


@dataclass
class Family:
    """Classes that inherit from one another, and the private names that their own code gives their objects."""

    names: set[str] = field(default_factory=set)
    is_known: bool = True  # no class of somebody else's is in it


def is_private(name: str) -> bool:
    """One underscore, not two: those are the language's."""
    return name.startswith("_") and not name.startswith("__") and name != "_"


def families(modules: Iterable[Module]) -> list[Family]:
    """All families of these modules. A class with a base in another module counts as not known."""
    return [family for module in modules for family in _of_module(module)]


def set_from_outside(module: Module) -> set[str]:
    """Private attributes that are set on something other than the object of a method."""
    inside = {id(attribute) for scope in module.names.scopes for attribute in _own_stores(module, scope)}
    return {
        node.attr
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
        and not isinstance(node.ctx, ast.Load)
        and is_private(node.attr)
        and id(node) not in inside
    }


def _of_module(module: Module) -> list[Family]:
    by_class: dict[str, Family] = {}
    found: list[Family] = []
    for scope in module.names.scopes:
        if not isinstance(scope.node, ast.ClassDef):
            continue
        family = Family()
        for base in scope.node.bases:
            name = base.id if isinstance(base, ast.Name) else ""
            if name in by_class:
                parent = by_class[name]
                parent.names |= family.names
                parent.is_known &= family.is_known
                found = [other for other in found if other is not family]
                by_class = {known: parent if theirs is family else theirs for known, theirs in by_class.items()}
                family = parent
            elif not _is_plain(name) or name in module.globals:
                family.is_known = False
        if scope.node.keywords:
            family.is_known = False
        by_class[scope.node.name] = family
        family.names |= {name for name in scope.bound if is_private(name)}
        family.names |= {store.attr for store in _own_stores(module, scope) if is_private(store.attr)}
        if not any(family is other for other in found):
            found.append(family)
    return found


# Built in, without private attributes.
def _is_plain(name: str) -> bool:
    built_in = getattr(builtins, name, None)
    return built_in is object or isinstance(built_in, type) and issubclass(built_in, BaseException)


# What the methods of a class set on their object.
def _own_stores(module: Module, scope: Scope) -> Iterator[ast.Attribute]:
    if not scope.is_class:
        return
    for use in module.names.uses:
        home = use.home
        if home.parent is scope and isinstance(home.node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = home.node.args.args[0].arg if home.node.args.args and not home.node.decorator_list else None
            attribute = module.names.attribute_of.get(use.node) if isinstance(use.node, ast.Name) else None
            if use.name == first and attribute is not None and not isinstance(attribute.ctx, ast.Load):
                yield attribute

"""Commands that are imported when they are called."""

import gc
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Lazy(NamedTuple):
    """A command: the module whose Typer instance `app` contains it, and its line in the list of commands."""

    module: str
    summary: str


class LazyGroup(TyperGroup):
    """A group that imports the module of a command when that is called, and no module to list the commands.

    Typer and Click have no such group: both read the help of each command from the command.
    """

    modules: ClassVar[Mapping[str, Lazy]] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name, lazy in self.modules.items():
            self.add_command(TyperCommand(name, help=lazy.summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is the first of `args`, imported."""
        if (lazy := self.modules.get(args[0])) is not None:
            self.commands[args[0]] = load(args[0], lazy)
        return super().resolve_command(ctx, args)


def load(name: str, lazy: Lazy) -> Any:
    """The command or the group of commands of a module."""
    group = typer.main.get_group(_imported(lazy.module).app)
    # In a module of one command, the command has the name of the list; in a group, none has.
    command = group.commands.get(name, group)
    command.name = name
    return command


def _imported(name: str) -> ModuleType:
    """The module. Imports leave no garbage, and looking for it would take a fifth of their time."""
    gc.disable()
    try:
        return import_module(name)
    finally:
        gc.enable()

"""A group of verbs: names the nearest one for a mistyped verb, and explains every failure in one place."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from pmd_ray.cli.failures import explain
from pmd_ray.spec.errors import UserError, nearest

# Missing arguments, unknown options, values of the wrong type: typer words them well itself. Newer versions of typer
# carry a copy of click, so its UsageError is reached as the base of a class that every version has.
USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]


class VerbGroup(TyperGroup):
    """Group class of `pmd` and of verbs with verbs of their own (`pmd data`)."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, USAGE_ERROR, SystemExit):
            raise
        except BaseException as error:
            code = explain(error, debug=bool(ctx.find_root().params.get("debug")))
        raise typer.Exit(code)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        known = self.list_commands(ctx)
        if args and not args[0].startswith("-") and args[0] not in known:
            near = nearest(args[0], known)
            raise UserError(f"no verb '{ctx.command_path} {args[0]}'{near} (verbs: {', '.join(known)})")
        return super().resolve_command(ctx, args)

"""Formats of artifacts as options take them: the rows of the tables, which are read when they are asked for."""

from typing import Any

import click


class FormatName(click.ParamType):
    """One of the formats that policies, or policies and models, are exported to."""

    name = "format"

    def __init__(self, *, of_models: bool = False) -> None:
        self._of_models = of_models

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return click.Choice(self._names()).convert(value, param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """What stands behind the option's name; click before 8.2 gives no context."""
        return f"[{'|'.join(self._names())}]"

    def _names(self) -> list[str]:
        from lilliput.policies.export.table import FORMATS

        if not self._of_models:
            return [*FORMATS]
        from lilliput.models.export.table import EXPORTERS

        return [*dict.fromkeys((*FORMATS, *EXPORTERS))]

"""Times as people write them: 90s, 10m, 1h."""

import re

import click

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


class Duration(click.ParamType):
    """Seconds, from a text."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", str(value).strip())
        if match is None or float(match[1]) * _UNITS[match[2]] < 1:
            self.fail(f"{value!r} is no time of a second or more; write 90s, 10m or 1h", param, ctx)
        return float(match[1]) * _UNITS[match[2]]

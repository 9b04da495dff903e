"""The formats of artifact there are."""

from lilliput.models.export.exporter import Exporter

EXPORTERS: dict[str, Exporter] = {exporter.NAME: exporter for exporter in ()}
"""By name, as the command line spells it."""

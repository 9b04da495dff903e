"""The formats of artifact there are."""

from lilliput.models.export.exporter import Exporter
from lilliput.models.export.onnx import Onnx
from lilliput.models.export.transformers_folder import TransformersFolder

EXPORTERS: dict[str, Exporter] = {exporter.NAME: exporter for exporter in (TransformersFolder(), Onnx())}
"""By name, as the command line spells it."""

"""The formats of artifacts that there are."""

from lilliput.policies.export.c_exporter import C
from lilliput.policies.export.exporter import Exporter
from lilliput.policies.export.onnx_exporter import Onnx

FORMATS: dict[str, Exporter] = {kind.NAME: kind for kind in (Onnx(), C())}
"""By their names; one row and one module a format."""

"""What an artifact takes and does, by counting."""

from lilliput.artifact import Artifact
from lilliput.measure.conditions import conditions
from lilliput.measurement import Measurement


def size(artifact: Artifact) -> tuple[Measurement, ...]:
    """model_bytes, file_bytes, n_parameters, n_nonzero_parameters and n_macs: one value each."""
    here = conditions()
    manifest = artifact.manifest
    counted = {
        "model_bytes": manifest.model_bytes,
        "n_parameters": manifest.n_parameters,
        "n_nonzero_parameters": manifest.n_nonzero_parameters,
        "n_macs": manifest.n_macs,
    }
    return (
        *(Measurement(name, (float(n),), "counted: on the exported policy", here) for name, n in counted.items()),
        Measurement("file_bytes", (float(_file_bytes(artifact)),), "counted: size of the model file", here),
    )


def _file_bytes(artifact: Artifact) -> int:
    models = [name for name in artifact.manifest.files if name.endswith(".onnx")]
    return sum((artifact.folder / name).stat().st_size for name in models)

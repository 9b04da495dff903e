"""What onnxruntime raises."""


def refusals() -> tuple[type[Exception], ...]:
    """What it raises of a model or its inputs: exceptions of its C module, which share no class of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    return (
        errors.Fail, errors.InvalidGraph, errors.InvalidArgument, errors.InvalidProtobuf, errors.NotImplemented,
        errors.RuntimeException, errors.NoModel, errors.EPFail, RuntimeError, ValueError,
    )  # fmt: skip

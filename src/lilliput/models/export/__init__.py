"""Models to artifacts that others run: one module a format (`transformers_folder`, `onnx`), rows in `table`."""

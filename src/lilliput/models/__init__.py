"""Language, vision and generative models made small: the second wing, beside `policies`, by the same rules.

Its noun is `Model` (a torch module or an ONNX graph with named ports); its verbs are `load`, `compress`, `export` and
`task`. torch, transformers and onnxruntime are imported where they are used: importing this wing loads none of them.

    text.py, images.py   what reads raw items: a tokenizer with its texts and windows; pictures with their normalization
    storage.py           how one weight is stored, to the byte: codes, scales, outliers, masks
    model.py             Model, Port, Provenance, the digest, the counted bytes
    session.py           a model that answers: arrays in by port, arrays out by port
    linear.py            the weights that are pruned and quantized, and which of them mean zero
    library.py           the libraries, imported where they are needed
    location.py, data_set.py   where texts, pictures and data sets lie
    detection.py, decoders.py  boxes and their average precision; what the outputs of detectors mean
    device.py            where torch computes
    file.py              a model as loaded in one file
    experiment.py        one cell of a study: build, ask, chance
    load/                one module a kind of source, one row each in load/table.py
    compress/            one module a step, one row each in compress/table.py; arithmetic/ knows arrays alone
    export/              one module a format of artifact, one row each in export/table.py
    task/                one module a task, one row each in task/table.py
"""

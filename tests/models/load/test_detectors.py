"""Detectors of transformers from their folders: the boxes are those that the library's own processors make of them."""

import json

import numpy as np
import pytest

from lilliput.errors import LilliputError
from lilliput.models import file
from lilliput.models.compress import compress
from lilliput.models.decoders import DECODERS
from lilliput.models.experiment import opened
from lilliput.models.export import export
from lilliput.models.graph import as_graph
from lilliput.models.images import Picture
from lilliput.models.load import load_model
from lilliput.models.session import open_session
from lilliput.models.task import parse_task

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.frameworks

EDGE, N_CLASSES, N_QUERIES = 64, 5, 12
HEADS = {f"{part}_attention_heads": 2 for part in ("encoder", "decoder")}
WIDTHS = {f"{part}_ffn_dim": 16 for part in ("encoder", "decoder")}
SMALL = {**HEADS, **WIDTHS, "num_queries": N_QUERIES, "num_labels": N_CLASSES, "encoder_layers": 1}
LAYERS = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16]}
LAST_THREE = ["stage2", "stage3", "stage4"]


def resnet(*stages):
    return transformers.ResNetConfig(**LAYERS, depths=[1] * 4, layer_type="basic", out_features=list(stages))


def detr(kind, *stages, width=16, **more):
    own = {"use_timm_backbone": False, "backbone": None, "backbone_config": resnet(*stages or ("stage4",))}
    return kind(d_model=width, **{"decoder_layers": 1, **own, **SMALL, **more})


def rt_detr(kind):
    backbone = transformers.RTDetrResNetConfig(**LAYERS, depths=[1] * 4, layer_type="basic", out_features=LAST_THREE)
    sizes = {"encoder_in_channels": [8, 16, 16], "encoder_hidden_dim": 16, "decoder_in_channels": [16] * 3}
    return kind(backbone_config=backbone, d_model=16, decoder_layers=2, num_denoising=0, **sizes, **SMALL)


def d_fine(kind):
    backbone = transformers.HGNetV2Config(
        **LAYERS, stem_channels=[3, 4, 8], stage_in_channels=[8, 8, 8, 16], stage_mid_channels=[4, 4, 4, 8],
        stage_out_channels=[8, 8, 16, 16], stage_num_blocks=[1] * 4, stage_numb_of_layers=[1] * 4,
        out_features=LAST_THREE,
    )  # fmt: skip
    sizes = {"encoder_in_channels": [8, 16, 16], "encoder_hidden_dim": 16, "decoder_in_channels": [16] * 3}
    return kind(backbone_config=backbone, d_model=16, decoder_layers=2, num_denoising=0, **sizes, **SMALL)


def yolos(kind):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    return kind(image_size=[EDGE, EDGE], patch_size=8, num_labels=N_CLASSES, num_detection_tokens=N_QUERIES, **sizes)


KINDS = {
    "Detr": (lambda: detr(transformers.DetrConfig), "DetrImageProcessorPil"),
    "TableTransformer": (lambda: detr(transformers.TableTransformerConfig), "DetrImageProcessorPil"),
    "ConditionalDetr": (lambda: detr(transformers.ConditionalDetrConfig), "ConditionalDetrImageProcessorPil"),
    "DeformableDetr": (
        lambda: detr(transformers.DeformableDetrConfig, *LAST_THREE, width=32, decoder_layers=2, num_feature_levels=3),
        "DeformableDetrImageProcessorPil",
    ),
    "RTDetr": (lambda: rt_detr(transformers.RTDetrConfig), "RTDetrImageProcessorPil"),
    "RTDetrV2": (lambda: rt_detr(transformers.RTDetrV2Config), "RTDetrImageProcessorPil"),
    "DFine": (lambda: d_fine(transformers.DFineConfig), "RTDetrImageProcessorPil"),
    "Yolos": (lambda: yolos(transformers.YolosConfig), "YolosImageProcessorPil"),
}
STRETCHED = {"size": {"height": EDGE, "width": EDGE}, "do_normalize": False, "do_rescale": True}


def saved(folder, kind, said=None):
    """A detector with random weights in the folder, its scores far enough from each other for one order of them."""
    torch.manual_seed(0)
    network = getattr(transformers, f"{kind}ForObjectDetection")(KINDS[kind][0]()).eval()
    for name, weight in network.named_parameters():
        if weight.ndim > 1 or "class" in name or "score" in name:
            torch.nn.init.normal_(weight, std=0.3 if weight.ndim < 4 else 0.6 if kind.startswith("RT") else 0.2)
    network.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(STRETCHED if said is None else said))
    return network


@pytest.mark.parametrize("kind", KINDS)
def test_a_detector_finds_the_boxes_that_its_own_processor_finds(tmp_path, kind):
    network = saved(tmp_path, kind)
    found = load_model(str(tmp_path))
    assert (found.family, found.provenance.guesses) == ("detection", ())
    some = np.random.default_rng(0).random((3, 3, EDGE, EDGE)).astype(np.float32)
    given = open_session(as_graph(found)).answer({"pixel_values": some})
    with torch.inference_mode():
        out = network(torch.from_numpy(some))
    processor = getattr(transformers, KINDS[kind][1])()
    sizes = [(1, 1)] * len(some)
    # Of Deformable and Conditional DETR the library keeps 100 whatever the queries; here as many as those.
    kept = {"top_k": N_QUERIES} if kind in ("ConditionalDetr", "DeformableDetr") else {}
    theirs = processor.post_process_object_detection(out, threshold=0.0, target_sizes=sizes, **kept)
    for n, one in enumerate(theirs):
        outputs = [given[port.name][n] for port in found.outputs]
        boxes, n_classes = DECODERS[found.decoder].decode(outputs, (EDGE, EDGE))
        assert n_classes == N_CLASSES
        np.testing.assert_allclose(boxes.scores, one["scores"].numpy(), atol=1e-4)
        np.testing.assert_array_equal(boxes.classes, one["labels"].numpy())
        np.testing.assert_allclose(boxes.corners, one["boxes"].numpy(), atol=1e-4)


def test_a_picture_becomes_what_the_processor_makes_of_it(tmp_path):
    saved(tmp_path, "RTDetr")
    picture = np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8)
    processor = transformers.RTDetrImageProcessorPil.from_pretrained(tmp_path)
    theirs = processor(images=picture, return_tensors="np")["pixel_values"][0]
    ours = load_model(str(tmp_path)).picture
    assert ours is not None
    np.testing.assert_allclose(ours.seen(picture, (EDGE, EDGE)), theirs, atol=1e-6)


def test_a_processor_that_keeps_the_shape_of_pictures_is_said_to(tmp_path):
    saved(tmp_path, "Detr", {"size": {"shortest_edge": 64, "longest_edge": 107}, "do_normalize": False, "crop_pct": 1})
    found = load_model(str(tmp_path))
    assert found.picture == Picture(fit="stretch", size=None)
    assert found.provenance.guesses == ("pictures are stretched to 64 x 64; transformers itself keeps their shape",)


def test_what_a_folder_says_of_its_outputs_goes_with_the_artifact(tmp_path):
    """Five classes and twelve queries would be told from no other head by their shape."""
    saved(tmp_path / "model", "RTDetr")
    model = as_graph(load_model(str(tmp_path / "model")))
    assert file.read(file.write(model, tmp_path / "kept.model")).decoder == "rtdetr"
    export(compress(model, "half()"), "onnx", tmp_path / "artifact")
    small, session = opened(tmp_path / "artifact")
    images = np.random.default_rng(0).integers(0, 256, (6, EDGE, EDGE, 3), dtype=np.uint8)
    np.savez(tmp_path / "scenes.npz", images=images, boxes=np.array([(n, 0, 0.5, 0.5, 0.4, 0.6) for n in range(6)]))
    task = parse_task(f'detection(images="{tmp_path / "scenes.npz"}", draws=2)')
    task.check(small, session)  # small boxes, too: nothing is guessed
    assert len(task.ask(small, session).values) == 3
    with pytest.raises(LilliputError, match="the outputs do not say whether they are that"):
        task.check(load_model(str(tmp_path / "artifact" / "model.onnx"), family="detection"), session)


def test_what_torch_cannot_export_is_a_line_and_not_its_whole_graph(tmp_path, capfd):
    class Odd(torch.nn.Module):
        input_shape = (3, 8, 8)

        def forward(self, x):
            return torch.nn.functional.interpolate(x, (5, 5), mode="bicubic", antialias=True).flatten(1)

    from lilliput.models.load.architecture import described
    from lilliput.models.model import Model, Module

    made = described(Odd(), "odd")
    with pytest.raises(LilliputError, match=r"to ONNX: .*_upsample_bicubic2d_aa.*dynamo=True.* give that file"):
        as_graph(Model(Module(made.module, "odd"), "classification", made.inputs, made.outputs))
    assert capfd.readouterr().out == ""

#!/usr/bin/env bash
# hls4ml 1.3.0 makes of a Keras 3 (3.15.1) layer's hard_sigmoid the one of Keras 2: 0.2 x + 0.5 between -2.5 and 2.5. Keras 3's is x / 6 + 0.5
# between -3 and 3, so that gates and actions are off by up to 0.083, a twelfth of their range, and are at their ends too early. Nothing is said. The
# same network with relu6 is right to its fixed-point type, and relu6(x + 3) / 6 is what Keras computes.
# Expected before: what Keras computes, to a few steps of the fixed-point type.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numpy==2.4.6 jax==0.10.2 keras==3.15.1 hls4ml==1.3.0
cd "$folder"
KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON'
import hls4ml
import keras
import numpy as np

keras.utils.set_random_seed(0)
x = (np.arange(-256, 257).reshape(-1, 1) / 64).astype(np.float32)  # -4 to 4, exact in fixed point


def both(activation):
    """What Keras answers, and what the C++ that hls4ml writes does."""
    observation = keras.Input((1,), name="observation")
    scaled = keras.layers.Dense(1, name="scale", use_bias=False, kernel_initializer="ones")(observation)
    model = keras.Model(observation, keras.layers.Activation(activation, name="act")(scaled))
    config = hls4ml.utils.config_from_keras_model(model, granularity="name", default_precision="ap_fixed<32,12>", backend="Vivado")
    written = hls4ml.converters.convert_from_keras_model(model, hls_config=config, backend="Vivado", output_dir=activation)
    written.compile()
    return np.asarray(model(x)).ravel(), written.predict(x).ravel()


keras_2 = np.clip(0.2 * x.ravel() + 0.5, 0, 1)
wanted, given = both("hard_sigmoid")
for at in (-2.75, -1.0, 1.0, 2.5):
    k = np.flatnonzero(x.ravel() == at)[0]
    print(f"hard_sigmoid({at}): Keras {wanted[k]:.4f}, hls4ml {given[k]:.4f}")
assert np.allclose(wanted, np.clip(x.ravel() / 6 + 0.5, 0, 1), atol=1e-6)
assert np.allclose(given, keras_2, atol=1e-3) and np.abs(given - wanted).max() > 0.08

wanted, given = both("relu6")
print(f"relu6: off by {np.abs(given - wanted).max():.6f} at most")
assert np.abs(given - wanted).max() < 1e-3
PYTHON

import numpy as np
import pytest
from tests.policies.compress.strategies import real

from lilliput.policies import layers, reference
from lilliput.policies.compress.regression import moments, outputs, refitted, samples


def test_weights_and_bias_of_least_squared_error() -> None:
    rng = np.random.default_rng(0)
    x, y = real(rng, 400, 5) + 3, real(rng, 400, 2)
    weight = np.zeros((2, 5))
    new, bias = refitted(moments(x, y, weight), weight)
    with_one = np.concatenate([x, np.ones((400, 1))], axis=1).astype(np.float64)
    expected = np.linalg.lstsq(with_one, y.astype(np.float64), rcond=None)[0].T
    np.testing.assert_allclose(new, expected[:, :5], atol=1e-3)
    np.testing.assert_allclose(bias, expected[:, 5], atol=1e-2)


def test_what_the_samples_do_not_say_stays_as_it_was() -> None:
    rng = np.random.default_rng(1)
    x = real(rng, 50, 4)
    x[:, 3] = 7
    weight = real(rng, 2, 4).astype(np.float64)
    new, bias = refitted(moments(x, x @ weight.T.astype(np.float32) + 1, weight), weight)
    np.testing.assert_allclose(new, weight, atol=1e-4)
    np.testing.assert_allclose(bias, 1, atol=1e-3)


@pytest.mark.parametrize("padding", [0, 1])
def test_the_samples_of_a_convolution_are_what_its_weights_are_multiplied_with(padding: int) -> None:
    rng = np.random.default_rng(2)
    layer = layers.Conv2d(real(rng, 4, 3, 3, 2), real(rng, 4), (2, 1), (padding, padding))
    x = real(rng, 5, 3, 8, 7)
    y = reference.apply(layer, x)
    assert layer.bias is not None
    np.testing.assert_allclose(samples(layer, x) @ layer.weight.reshape(4, -1).T + layer.bias, outputs(y), atol=1e-4)

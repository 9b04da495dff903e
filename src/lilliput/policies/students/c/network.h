/* A student's network, real or quantized: forward for a batch, and the gradient of its weights, biases, steps and ranges
   by hand. In the batch one feature of all samples is a row, so that every loop runs along the samples. */
#ifndef NETWORK_H
#define NETWORK_H

#include <math.h>
#include <stdint.h>

#include "products.h"

enum activation { SILU, RELU, TANH };
enum input_range { PER_DIMENSION, PER_TENSOR, NONE };

/* Students of one shape. Python keeps the same structure: students/native.py. */
typedef struct {
    int32_t n_layers, activation, quantized, activation_bits, input_range, per_channel;
    const int32_t *sizes;       /* n_layers + 1 */
    const int32_t *weight_bits; /* n_layers; of quantized ones */
    const float *centre, *scale, *low, *high; /* of the inputs; low and high are of the standardized ones */
    const float *epsilons; /* n_layers; of the layer norm behind each, 0: there is none */
} network;

/* One of them: `matrices` holds for each layer (outputs, inputs + 1) numbers, the bias last; `scales` the gains and then
   the shifts of each layer norm, the logarithms of all inverse input scales, then of all weight steps; `zero_points` is the
   first layer's; `kept` is like the matrices, zero where a weight stays zero (NULL: none does). Python keeps the same
   structure. */
typedef struct {
    float *matrices, *scales;
    const float *zero_points, *kept;
} student;

#define SMALLEST_STEP 6.103515625e-05f /* 2^-14, the smallest float16 of full precision */

static size_t n_inputs(const network *net, int layer)
{
    return (size_t)net->sizes[layer];
}

static size_t n_outputs(const network *net, int layer)
{
    return (size_t)net->sizes[layer + 1];
}

static size_t n_ranges(const network *net, int layer)
{
    return layer ? 1 : net->input_range == PER_DIMENSION ? n_inputs(net, 0) : net->input_range == PER_TENSOR ? 1 : 0;
}

static size_t n_steps_of(const network *net, int layer)
{
    return net->per_channel ? n_outputs(net, layer) : 1;
}

static size_t matrix_at(const network *net, int layer)
{
    size_t at = 0;
    int i;
    for (i = 0; i < layer; i++) {
        at += n_outputs(net, i) * (n_inputs(net, i) + 1);
    }
    return at;
}

static int has_norm(const network *net, int layer)
{
    return net->epsilons[layer] > 0;
}

static size_t norm_at(const network *net, int layer)
{
    size_t at = 0;
    int i;
    for (i = 0; i < layer; i++) {
        at += has_norm(net, i) ? 2 * n_outputs(net, i) : 0;
    }
    return at;
}

static size_t range_at(const network *net, int layer)
{
    return norm_at(net, net->n_layers) + (layer ? n_ranges(net, 0) + (size_t)layer - 1 : 0);
}

static size_t step_at(const network *net, int layer)
{
    size_t at = range_at(net, net->n_layers);
    int i;
    for (i = 0; i < layer; i++) {
        at += n_steps_of(net, i);
    }
    return at;
}

static size_t n_scales(const network *net)
{
    return net->quantized ? step_at(net, net->n_layers) : norm_at(net, net->n_layers);
}

/* The nearest number that float16 has (ties to even), for |x| < 65520. */
INLINED float half_precision(float x)
{
    uint32_t bits;
    float small = rintf(x * 16777216.0f) * 5.9604644775390625e-08f; /* multiples of 2^-24 */
    float normal;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0xfffu + ((bits >> 13) & 1u)) & ~0x1fffu;
    memcpy(&normal, &bits, sizeof normal);
    return fabsf(x) < SMALLEST_STEP ? small : normal;
}

/* exp(x) within 2 units in the last place for -87 <= x <= 88; what lies outside is taken to the ends. */
INLINED float exponential(float x)
{
    float n, r, p, power;
    uint32_t bits;
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    n = rintf(x * 1.44269504f);
    r = x - n * 0.693145752f;
    r = r - n * 1.42860677e-6f;
    p = 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    bits = (uint32_t)((int32_t)n + 127) << 23;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

INLINED float hyperbolic_tangent(float x)
{
    float e = exponential(-2.0f * fabsf(x));
    return copysignf((1.0f - e) / (1.0f + e), x);
}

/* y = f(x) and slope = f'(x). */
static void activate(int activation, const float *x, size_t n, float *y, float *slope)
{
    size_t i;
    switch (activation) {
    case SILU:
        for (i = 0; i < n; i++) {
            float s = 1.0f / (1.0f + exponential(-x[i]));
            y[i] = x[i] * s;
            slope[i] = s * (1.0f + x[i] * (1.0f - s));
        }
        break;
    case RELU:
        for (i = 0; i < n; i++) {
            y[i] = x[i] > 0 ? x[i] : 0;
            slope[i] = x[i] > 0 ? 1.0f : 0;
        }
        break;
    default:
        for (i = 0; i < n; i++) {
            y[i] = hyperbolic_tangent(x[i]);
            slope[i] = 1.0f - y[i] * y[i];
        }
        break;
    }
}

static float lowest_value(int activation)
{
    return activation == SILU ? -0.27846f : activation == RELU ? 0 : -1.0f;
}

/* What a layer is at the present parameters, for as long as they do not change. */
typedef struct {
    float *codes;    /* outputs x inputs: integer codes, or the real weights */
    float *unrounded; /* the codes before rounding and clamping */
    float *bias;     /* outputs */
    float *step;     /* outputs */
    float *inverse;  /* inputs: the scale of the input's codes */
    float *zero;     /* inputs: their zero point */
    float *factor;   /* inputs: from the weight on the standardized input to the one on codes */
    float *centre;   /* inputs: what the codes' zero point has the input's centre added as */
    float *gain;     /* outputs: of the norm behind the layer, and its shift */
    float *shift;
} prepared;

static size_t prepared_floats(const network *net, int layer)
{
    return 2 * n_outputs(net, layer) * n_inputs(net, layer) + 4 * n_outputs(net, layer) + 4 * n_inputs(net, layer);
}

static prepared prepared_at(const network *net, int layer, float *at)
{
    size_t in = n_inputs(net, layer), out = n_outputs(net, layer);
    prepared made;
    made.codes = at;
    made.unrounded = made.codes + out * in;
    made.bias = made.unrounded + out * in;
    made.step = made.bias + out;
    made.inverse = made.step + out;
    made.zero = made.inverse + in;
    made.factor = made.zero + in;
    made.centre = made.factor + in;
    made.gain = made.centre + in;
    made.shift = made.gain + out;
    return made;
}

static float code_top(const network *net)
{
    return (float)((1 << net->activation_bits) - 1);
}

/* Whether the layer's input is made of codes; only the first layer's may be real. */
static int takes_codes(const network *net, int layer)
{
    return net->quantized && (layer || net->input_range != NONE);
}

static void prepare(const network *net, const student *of, int layer, prepared to)
{
    size_t in = n_inputs(net, layer), out = n_outputs(net, layer), i, o;
    const float *matrix = of->matrices + matrix_at(net, layer);
    const float *norm = of->scales + norm_at(net, layer);
    float low, high;
    for (o = 0; has_norm(net, layer) && o < out; o++) {
        to.gain[o] = net->quantized ? half_precision(norm[o]) : norm[o];
        to.shift[o] = net->quantized ? half_precision(norm[out + o]) : norm[out + o];
    }
    if (!net->quantized) {
        for (o = 0; o < out; o++, matrix += in + 1) {
            memcpy(to.codes + o * in, matrix, in * sizeof(float));
            to.bias[o] = matrix[in];
        }
        return;
    }
    high = (float)((1 << (net->weight_bits[layer] - 1)) - 1);
    low = -high - 1;
    for (i = 0; i < in; i++) {
        float scale = layer ? 1.0f : net->scale[i];
        float centre = layer ? 0.0f : net->centre[i];
        if (takes_codes(net, layer)) {
            size_t range = n_ranges(net, layer) > 1 ? i : 0;
            to.inverse[i] = half_precision(expf(of->scales[range_at(net, layer) + range]));
            if (layer) {
                float zero = rintf(-lowest_value(net->activation) * to.inverse[i]);
                to.zero[i] = zero > code_top(net) ? code_top(net) : zero;
            } else {
                to.zero[i] = of->zero_points[range];
            }
            to.factor[i] = scale / to.inverse[i];
            to.centre[i] = to.zero[i] + centre * to.inverse[i];
        } else {
            to.inverse[i] = 1;
            to.zero[i] = 0;
            to.factor[i] = scale;
            to.centre[i] = centre;
        }
    }
    for (o = 0; o < out; o++, matrix += in + 1) {
        size_t own = net->per_channel ? o : 0;
        float step = expf(of->scales[step_at(net, layer) + own]), shift = 0;
        step = half_precision(step < SMALLEST_STEP ? SMALLEST_STEP : step);
        to.step[o] = step;
        for (i = 0; i < in; i++) {
            float code = matrix[i] * to.factor[i] / step;
            to.unrounded[o * in + i] = code;
            code = code < low ? low : code;
            code = code > high ? high : code;
            code = rintf(code);
            to.codes[o * in + i] = code;
            shift += code * step * to.centre[i];
        }
        to.bias[o] = half_precision(matrix[in] - shift);
    }
}

/* A batch on its way through a student; every row is of `ld` samples. */
typedef struct {
    size_t ld;
    float *raw;    /* inputs x ld: the observations */
    float *x;      /* what goes into the layers: standardized inputs, activations or their codes, one layer after the other */
    float *real;   /* the same before it is made codes */
    float *y;      /* what comes out of them, behind their norms */
    float *normed; /* the same before gain and shift, where there is a norm */
    float *inverse_deviation; /* layers x ld: what the norm divided by */
    float *slope;  /* of the activation behind y */
} batch;

/* Where the features of a layer's input begin; of its output at layer + 1. */
static size_t features_at(const network *net, int layer, size_t ld)
{
    size_t total = 0;
    int i;
    for (i = 0; i < layer; i++) {
        total += (size_t)net->sizes[i];
    }
    return total * ld;
}

static size_t batch_floats(const network *net, size_t ld)
{
    return (n_inputs(net, 0) + (size_t)net->n_layers) * ld + 5 * features_at(net, net->n_layers + 1, ld);
}

static batch batch_at(const network *net, size_t ld, float *at)
{
    size_t n = features_at(net, net->n_layers + 1, ld);
    batch made;
    made.ld = ld;
    made.raw = at;
    made.x = made.raw + n_inputs(net, 0) * ld;
    made.real = made.x + n;
    made.y = made.real + n;
    made.slope = made.y + n;
    made.normed = made.slope + n;
    made.inverse_deviation = made.normed + n;
    return made;
}

static void to_codes(const float *x, size_t n, float inverse, float zero, float top, float *codes)
{
    size_t i;
    for (i = 0; i < n; i++) {
        float code = rintf(x[i] * inverse) + zero;
        code = code < 0 ? 0 : code;
        codes[i] = code > top ? top : code;
    }
}

/* y (n rows of ld samples) = (y - mean) / sqrt(variance + epsilon) * gain + shift over the rows; what is needed for its
   gradient is kept. */
static void normalize(
    float *y, size_t n, size_t ld, float epsilon, const float *gain, const float *shift, float *normed, float *inverse)
{
    size_t o, c;
    for (c = 0; c < ld; c++) {
        float mean = 0, variance = 0;
        for (o = 0; o < n; o++) {
            mean += y[o * ld + c];
        }
        mean /= (float)n;
        for (o = 0; o < n; o++) {
            float centred = y[o * ld + c] - mean;
            variance += centred * centred;
            normed[o * ld + c] = centred;
        }
        inverse[c] = 1.0f / sqrtf(variance / (float)n + epsilon);
    }
    for (o = 0; o < n; o++) {
        for (c = 0; c < ld; c++) {
            normed[o * ld + c] *= inverse[c];
            y[o * ld + c] = normed[o * ld + c] * gain[o] + shift[o];
        }
    }
}

/* From the gradient d of what `normalize` gave to that of what it took; the gradients of gains and shifts are added. */
static void normalize_gradient(
    float *d, size_t n, size_t ld, const float *gain, const float *normed, const float *inverse, float *d_gain,
    float *d_shift)
{
    size_t o, c;
    for (o = 0; o < n; o++) {
        for (c = 0; c < ld; c++) {
            d_gain[o] += d[o * ld + c] * normed[o * ld + c];
            d_shift[o] += d[o * ld + c];
            d[o * ld + c] *= gain[o];
        }
    }
    for (c = 0; c < ld; c++) {
        float mean = 0, along = 0;
        for (o = 0; o < n; o++) {
            mean += d[o * ld + c];
            along += d[o * ld + c] * normed[o * ld + c];
        }
        mean /= (float)n;
        along /= (float)n;
        for (o = 0; o < n; o++) {
            d[o * ld + c] = inverse[c] * (d[o * ld + c] - mean - normed[o * ld + c] * along);
        }
    }
}

/* The outputs, in the last rows of y, for the observations in raw. */
static void forward(const network *net, const prepared *layers, batch b)
{
    int layer;
    for (layer = 0; layer < net->n_layers; layer++) {
        size_t in = n_inputs(net, layer), out = n_outputs(net, layer), i, o, c;
        float *x = b.x + features_at(net, layer, b.ld), *real = b.real + features_at(net, layer, b.ld);
        float *y = b.y + features_at(net, layer + 1, b.ld);
        const prepared *now = &layers[layer];
        if (layer) {
            size_t at = features_at(net, layer, b.ld);
            activate(net->activation, b.y + at, in * b.ld, net->quantized ? real : x, b.slope + at);
        } else if (!net->quantized) {
            for (i = 0; i < in; i++) {
                for (c = 0; c < b.ld; c++) {
                    float value = (b.raw[i * b.ld + c] - net->centre[i]) * net->scale[i];
                    value = value < net->low[i] ? net->low[i] : value;
                    x[i * b.ld + c] = value > net->high[i] ? net->high[i] : value;
                }
            }
        } else {
            memcpy(real, b.raw, in * b.ld * sizeof(float));
        }
        if (takes_codes(net, layer)) {
            for (i = 0; i < in; i++) {
                to_codes(real + i * b.ld, b.ld, now->inverse[i], now->zero[i], code_top(net), x + i * b.ld);
            }
        } else if (net->quantized) {
            memcpy(x, real, in * b.ld * sizeof(float));
        }
        product((elements){now->codes, in, 1}, x, b.ld, y, b.ld, out, in, b.ld);
        for (o = 0; o < out; o++) {
            float step = net->quantized ? now->step[o] : 1.0f;
            for (c = 0; c < b.ld; c++) {
                y[o * b.ld + c] = y[o * b.ld + c] * step + now->bias[o];
            }
        }
        if (has_norm(net, layer)) {
            normalize(
                y, out, b.ld, net->epsilons[layer], now->gain, now->shift, b.normed + features_at(net, layer + 1, b.ld),
                b.inverse_deviation + (size_t)layer * b.ld);
        }
    }
}

static size_t widest(const network *net)
{
    size_t most = 0;
    int i;
    for (i = 0; i <= net->n_layers; i++) {
        most = (size_t)net->sizes[i] > most ? (size_t)net->sizes[i] : most;
    }
    return most;
}

/* Of the matrices' gradient, whose rows are padded, up to this layer. */
static size_t gradient_at(const network *net, int layer)
{
    size_t at = 0;
    int i;
    for (i = 0; i < layer; i++) {
        at += n_outputs(net, i) * padded(n_inputs(net, i) + 1);
    }
    return at;
}

/* Scratch of `backward`. */
static size_t backward_floats(const network *net, size_t ld)
{
    size_t most = 0;
    int i;
    for (i = 0; i < net->n_layers; i++) {
        size_t n = n_outputs(net, i) * n_inputs(net, i);
        most = n > most ? n : most;
    }
    return 2 * widest(net) * ld + 2 * most;
}

/* From the gradient of the codes times step (`products`, less what the shift of the bias takes) to that of the weights,
   the step and the inverse input scales. */
static void weight_gradient(
    const network *net, int layer, const prepared *now, const float *sums, float *products, float *d_matrix,
    size_t ld_matrix, float *d_scales)
{
    size_t in = n_inputs(net, layer), out = n_outputs(net, layer), i, o;
    float high = (float)((1 << (net->weight_bits[layer] - 1)) - 1), low = -high - 1;
    float *d_range = d_scales + range_at(net, layer), *d_step = d_scales + step_at(net, layer);
    for (o = 0; o < out; o++) {
        float of_step = 0, step = now->step[o];
        for (i = 0; i < in; i++) {
            float d = products[o * in + i] - sums[o] * now->centre[i];
            float unrounded = now->unrounded[o * in + i];
            float inside = unrounded >= low && unrounded <= high ? d : 0;
            of_step += d * now->codes[o * in + i] - inside * unrounded;
            d_matrix[o * ld_matrix + i] = inside * now->factor[i];
            products[o * in + i] = inside * unrounded * step; /* what the inverse scale takes, times itself */
        }
        d_step[net->per_channel ? o : 0] += of_step;
    }
    if (takes_codes(net, layer)) {
        for (o = 0; o < out; o++) {
            for (i = 0; i < in; i++) {
                float centre = layer ? 0 : net->centre[i];
                float d = products[o * in + i] / now->inverse[i] + sums[o] * now->step[o] * now->codes[o * in + i] * centre;
                d_range[n_ranges(net, layer) > 1 ? i : 0] -= d;
            }
        }
    }
}

/* Adds to d_scales, and sets d_matrices (at `gradient_at`), from the gradient of the outputs,
   which is the first thing in scratch. */
static void backward(
    const network *net, const prepared *layers, batch b, float *d_matrices, float *d_scales, float *scratch)
{
    size_t row = widest(net) * b.ld;
    int layer;
    float *d_y = scratch, *d_x = d_y + row, *products = d_x + row;
    for (layer = net->n_layers; layer-- > 0;) {
        size_t in = n_inputs(net, layer), out = n_outputs(net, layer), ld = padded(in + 1), i, o, c;
        const prepared *now = &layers[layer];
        const float *x = b.x + features_at(net, layer, b.ld), *real = b.real + features_at(net, layer, b.ld);
        float *sums = products + out * in, *d_matrix = d_matrices + gradient_at(net, layer), *swap;
        if (has_norm(net, layer)) {
            float *d_norm = d_scales + norm_at(net, layer);
            normalize_gradient(
                d_y, out, b.ld, now->gain, b.normed + features_at(net, layer + 1, b.ld),
                b.inverse_deviation + (size_t)layer * b.ld, d_norm, d_norm + out);
        }
        for (o = 0; o < out; o++) {
            vector sum = {0};
            for (c = 0; c < b.ld; c += VECTOR_FLOATS) {
                sum += *const_vector_at(d_y + o * b.ld + c);
            }
            sums[o] = vector_sum(sum);
            d_matrix[o * ld + in] = sums[o];
        }
        if (net->quantized) {
            inner_products(d_y, x, b.ld, b.ld, products, in, out, in);
            weight_gradient(net, layer, now, sums, products, d_matrix, ld, d_scales);
            for (o = 0; o < out; o++) {
                for (c = 0; c < b.ld; c++) {
                    d_y[o * b.ld + c] *= now->step[o];
                }
            }
        } else {
            inner_products(d_y, x, b.ld, b.ld, d_matrix, ld, out, in);
        }
        if (!layer && !takes_codes(net, 0)) {
            break;
        }
        product((elements){now->codes, 1, in}, d_y, b.ld, d_x, b.ld, in, out, b.ld);
        if (net->quantized) {
            float top = code_top(net);
            for (i = 0; i < in; i++) {
                float inverse = now->inverse[i], zero = now->zero[i];
                vector sum = {0};
                for (c = 0; c < b.ld; c++) {
                    float code = rintf(real[i * b.ld + c] * inverse) + zero;
                    d_x[i * b.ld + c] = code < 0 || code > top ? 0 : d_x[i * b.ld + c];
                }
                for (c = 0; c < b.ld; c += VECTOR_FLOATS) {
                    sum += *const_vector_at(d_x + i * b.ld + c) * *const_vector_at(real + i * b.ld + c);
                }
                d_scales[range_at(net, layer) + (n_ranges(net, layer) > 1 ? i : 0)] += vector_sum(sum);
                for (c = 0; c < b.ld; c++) {
                    d_x[i * b.ld + c] *= inverse;
                }
            }
        }
        if (!layer) {
            break;
        }
        {
            const float *slope = b.slope + features_at(net, layer, b.ld);
            for (i = 0; i < in * b.ld; i++) {
                d_x[i] *= slope[i];
            }
        }
        swap = d_y;
        d_y = d_x;
        d_x = swap;
    }
}

#endif

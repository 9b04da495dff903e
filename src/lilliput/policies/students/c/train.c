/* Training of students: what students/native.py calls. Each student trains alone, from the first of its steps to the last,
   so that all of it stays in the nearest cache. */
#include "loss.h"
#include "network.h"
#include "soap.h"

#define ADAM_FIRST 0.9f
#define ADAM_SECOND 0.99f
#define ADAM_EPSILON 1e-8f
#define SCALE_RATE 0.1f /* the learning rate of steps and ranges, which are logarithms, and of norms over that of weights */

#define MOST_LAYERS 16

size_t lilliput_vector_floats(void)
{
    return VECTOR_FLOATS;
}

static size_t all_prepared_floats(const network *net)
{
    size_t total = 0;
    int i;
    for (i = 0; i < net->n_layers; i++) {
        total += prepared_floats(net, i);
    }
    return total;
}

static void prepare_all(const network *net, const student *of, prepared *layers, float *at)
{
    int i;
    for (i = 0; i < net->n_layers; i++) {
        layers[i] = prepared_at(net, i, at);
        prepare(net, of, i, layers[i]);
        at += prepared_floats(net, i);
    }
}

/* Writes what the layer is now: codes (outputs x inputs), bias and step (outputs), inverse and zero (inputs). */
void lilliput_layer(
    const network *net, const student *of, int layer, float *scratch, float *codes, float *bias, float *step, float *inverse,
    float *zero)
{
    prepared made = prepared_at(net, layer, scratch);
    size_t in = n_inputs(net, layer), out = n_outputs(net, layer);
    prepare(net, of, layer, made);
    memcpy(codes, made.codes, in * out * sizeof(float));
    memcpy(bias, made.bias, out * sizeof(float));
    if (net->quantized) {
        memcpy(step, made.step, out * sizeof(float));
        memcpy(inverse, made.inverse, in * sizeof(float));
        memcpy(zero, made.zero, in * sizeof(float));
    }
}

/* columns[i][c] = number i of the row rows[c] of x, or of row c; zero behind the n rows. */
static void gather(const float *x, const int64_t *rows, size_t n, size_t width, float *columns, size_t ld)
{
    size_t c, i;
    for (c = 0; c < n; c++) {
        const float *row = x + (rows ? (size_t)rows[c] : c) * width;
        for (i = 0; i < width; i++) {
            columns[i * ld + c] = row[i];
        }
    }
    for (i = 0; i < width; i++) {
        memset(columns + i * ld + n, 0, (ld - n) * sizeof(float));
    }
}

size_t lilliput_scratch_floats(const network *net, size_t n)
{
    size_t ld = padded(n), total, most = 0;
    int i;
    for (i = 0; i < net->n_layers; i++) {
        size_t m = n_outputs(net, i), k = n_inputs(net, i) + 1, one = soap_scratch_floats(m, k);
        most = one > most ? one : most;
        /* Of the order in which vectors are sorted, at eight bytes each. */
        total = 2 * (m > k ? m : k);
        most = one + total > most ? one + total : most;
    }
    total = all_prepared_floats(net) + batch_floats(net, ld) + backward_floats(net, ld);
    total += 2 * n_outputs(net, net->n_layers - 1) * ld + ld + gradient_at(net, net->n_layers) + most;
    total += padded(n_scales(net));
    return total + 64;
}

/* y (n x outputs) of the observations x (n x inputs). */
void lilliput_forward(const network *net, const student *of, const float *x, size_t n, float *scratch, float *y)
{
    prepared layers[MOST_LAYERS];
    size_t ld = padded(n), out = n_outputs(net, net->n_layers - 1), c, o;
    batch b = batch_at(net, ld, scratch + all_prepared_floats(net));
    const float *last = b.y + features_at(net, net->n_layers, ld);
    prepare_all(net, of, layers, scratch);
    gather(x, NULL, n, n_inputs(net, 0), b.raw, ld);
    forward(net, layers, b);
    for (c = 0; c < n; c++) {
        for (o = 0; o < out; o++) {
            y[c * out + o] = last[o * ld + c];
        }
    }
}

/* Zeroes what is zero in the student's `kept`, in the layer's matrix or its gradient (rows ld apart). */
static void hold_zeros(const network *net, const student *of, int layer, float *matrix, size_t ld)
{
    size_t m = n_outputs(net, layer), n = n_inputs(net, layer) + 1, i, j;
    const float *kept = of->kept + matrix_at(net, layer);
    for (i = 0; i < m; i++) {
        for (j = 0; j < n; j++) {
            matrix[i * ld + j] *= kept[i * n + j];
        }
    }
}

/* The loss of a student on the rows of a replay; d_matrices (each layer's rows padded) and d_scales become its gradient. */
static double student_gradient(
    const network *net, const objective *aim, const student *of, const float *x, const float *targets,
    const int64_t *rows, size_t n, float *d_matrices, float *d_scales, float *scratch)
{
    prepared layers[MOST_LAYERS];
    size_t ld = padded(n), out = n_outputs(net, net->n_layers - 1), i;
    batch b = batch_at(net, ld, scratch + all_prepared_floats(net));
    float *wanted = scratch + all_prepared_floats(net) + batch_floats(net, ld), *slope = wanted + 2 * out * ld;
    float *back = slope + ld;
    double loss;
    int layer;
    prepare_all(net, of, layers, scratch);
    gather(x, rows, n, n_inputs(net, 0), b.raw, ld);
    gather(targets, rows, n, target_width(aim, out), wanted, ld);
    forward(net, layers, b);
    memcpy(back, b.y + features_at(net, net->n_layers, ld), out * ld * sizeof(float));
    loss = loss_gradient(aim, out, back, wanted, ld, n, slope);
    memset(d_scales, 0, n_scales(net) * sizeof(float));
    backward(net, layers, b, d_matrices, d_scales, back);
    for (i = norm_at(net, net->n_layers); i < n_scales(net); i++) {
        float scale = expf(of->scales[i]);
        /* A step that is held at the smallest one does not learn. */
        d_scales[i] *= i >= range_at(net, net->n_layers) && scale < SMALLEST_STEP ? 0 : scale;
    }
    for (layer = 0; of->kept && layer < net->n_layers; layer++) {
        hold_zeros(net, of, layer, d_matrices + gradient_at(net, layer), padded(n_inputs(net, layer) + 1));
    }
    return loss;
}

/* The loss of one student; the gradients are laid out as it is. */
double lilliput_gradient(
    const network *net, const objective *aim, const student *of, const float *x, const float *targets, const int64_t *rows,
    size_t n, float *scratch, float *d_matrices, float *d_scales)
{
    float *rest = scratch + gradient_at(net, net->n_layers);
    double loss = student_gradient(net, aim, of, x, targets, rows, n, scratch, d_scales, rest);
    size_t at = 0, o;
    int i;
    for (i = 0; i < net->n_layers; i++) {
        size_t width = n_inputs(net, i) + 1;
        for (o = 0; o < n_outputs(net, i); o++, at += padded(width), d_matrices += width) {
            memcpy(d_matrices, scratch + at, width * sizeof(float));
        }
    }
    return loss;
}

/* The loss of n outputs (component by component, as the targets) of any network; y becomes its gradient. */
double lilliput_loss(const objective *aim, size_t outputs, float *y, const float *target, size_t n, float *slope)
{
    return loss_gradient(aim, outputs, y, target, n, n, slope);
}

/* Scratch of `lilliput_soap`, in floats. */
size_t lilliput_soap_scratch_floats(size_t m, size_t n)
{
    return 2 * (m > n ? m : n) + soap_scratch_floats(m, n);
}

/* One step of a matrix of any network, the n_steps-th from one; rows of the gradient are padded with zeros. */
void lilliput_soap(
    float *state, float *matrix, const float *gradient, size_t m, size_t n, float rate, long n_steps, float *scratch)
{
    size_t most = m > n ? m : n;
    soap_step(
        soap_state_at(state, m, n), matrix, gradient, m, n, rate, n_steps, scratch + 2 * most, (size_t *)(void *)scratch);
}

static void adam_step(float *x, const float *gradient, float *first, float *second, size_t n, float rate, long n_steps)
{
    float of_first = 1.0f - powf(ADAM_FIRST, (float)n_steps), of_second = 1.0f - powf(ADAM_SECOND, (float)n_steps);
    size_t i;
    for (i = 0; i < n; i++) {
        first[i] += (1 - ADAM_FIRST) * (gradient[i] - first[i]);
        second[i] += (1 - ADAM_SECOND) * (gradient[i] * gradient[i] - second[i]);
        x[i] -= rate * (first[i] / of_first) / (sqrtf(second[i] / of_second) + ADAM_EPSILON);
    }
}

/* Trains one student: step s on the rows [s * n_rows, (s + 1) * n_rows) of the replay at rates[s], done steps after the first.
   `soap` and `adam` (two numbers a scale) are what the optimizers remember. Returns the mean loss. */
double lilliput_train(
    const network *net, const objective *aim, const student *of, float *soap, float *adam, const float *x,
    const float *targets, const int64_t *rows, size_t n_rows, const float *rates, long done, long n_steps, float *scratch)
{
    size_t total = gradient_at(net, net->n_layers), n = n_scales(net);
    float *d_matrices = scratch, *d_scales = d_matrices + total, *rest = d_scales + padded(n);
    double losses = 0;
    long step;
    int i;
    memset(d_matrices, 0, total * sizeof(float)); /* the padding of its rows stays zero */
    for (step = 0; step < n_steps; step++) {
        const float *gradient = d_matrices;
        float *matrix = of->matrices, *state = soap;
        losses += student_gradient(net, aim, of, x, targets, rows + (size_t)step * n_rows, n_rows, d_matrices, d_scales, rest);
        if (n) {
            adam_step(of->scales, d_scales, adam, adam + n, n, SCALE_RATE * rates[step], done + step + 1);
        }
        for (i = 0; i < net->n_layers; i++) {
            size_t m = n_outputs(net, i), width = n_inputs(net, i) + 1, most = m > width ? m : width;
            soap_step(
                soap_state_at(state, m, width), matrix, gradient, m, width, rates[step], done + step + 1,
                rest + 2 * most, (size_t *)(void *)rest);
            if (of->kept) {
                hold_zeros(net, of, i, matrix, width);
            }
            gradient += m * padded(width);
            matrix += m * width;
            state += soap_floats(m, width);
        }
    }
    return losses / (double)(n_steps ? n_steps : 1);
}

/* What a student's outputs lose against the teacher's, and the gradient of it. */
#ifndef LOSS_H
#define LOSS_H

#include "network.h"

enum loss { L2, L1, KL, CROSS_ENTROPY, REGRET };
enum head { SQUASH, RESCALE, CLIP };

/* The same structure in Python: students/native.py. */
typedef struct {
    int32_t kind, n_head, n_groups; /* n_groups: the choices of a discrete action; 0: the action is an array */
    float least_cost, most_cost; /* REGRET of an array: the bounds of what a squared error costs in a state */
    const float *unit;          /* outputs: the size of an error; of choices all are alike */
    const int32_t *head;        /* of an array: what shapes the action */
    const float *first, *second; /* n_head x outputs: scale and offset, or low and high */
    const int32_t *groups;      /* of choices: how many options each has */
} objective;

/* The numbers of a sample's target: of REGRET of an array what the teacher did, and behind it what errors cost. */
static size_t target_width(const objective *aim, size_t outputs)
{
    return aim->kind == REGRET && !aim->n_groups ? 2 * outputs : outputs;
}

/* The loss of an action's component for n samples; y becomes its gradient. */
static double component_loss(
    const objective *aim, size_t component, size_t n_components, float *y, const float *target, const float *cost, size_t n,
    float *slope)
{
    float share = 1.0f / ((float)n * (float)n_components), unit = aim->unit[component], total = 0;
    size_t c;
    int step;
    for (c = 0; c < n; c++) {
        slope[c] = 1;
    }
    for (step = 0; step < aim->n_head; step++) {
        float first = aim->first[(size_t)step * n_components + component];
        float second = aim->second[(size_t)step * n_components + component];
        switch (aim->head[step]) {
        case SQUASH:
            for (c = 0; c < n; c++) {
                y[c] = hyperbolic_tangent(y[c]);
                slope[c] *= 1.0f - y[c] * y[c];
            }
            break;
        case RESCALE:
            for (c = 0; c < n; c++) {
                y[c] = y[c] * first + second;
                slope[c] *= first;
            }
            break;
        default: /* The gradient passes: where both sides clip there is nothing to learn, elsewhere it leads back inside. */
            for (c = 0; c < n; c++) {
                y[c] = y[c] < first ? first : y[c];
                y[c] = y[c] > second ? second : y[c];
            }
            break;
        }
    }
    for (c = 0; c < n; c++) {
        float error = (y[c] - target[c]) / unit;
        float sign = error > 0 ? 1.0f : error < 0 ? -1.0f : 0, weight = 1;
        if (aim->kind == REGRET) {
            weight = cost[c] < aim->least_cost ? aim->least_cost : cost[c] > aim->most_cost ? aim->most_cost : cost[c];
        }
        total += weight * (aim->kind == L1 ? fabsf(error) : error * error);
        y[c] = weight * (aim->kind == L1 ? sign : 2.0f * error) * slope[c] * share / unit;
    }
    return (double)total * share;
}

/* The loss of one choice among `options` for one sample; y becomes its gradient. Values are `ld` apart. */
static double choice_loss(const objective *aim, size_t options, float *y, const float *target, size_t ld, float share)
{
    double loss = 0;
    float unit = aim->unit[0];
    float best = -INFINITY, most = -INFINITY, sum = 0, sum_teacher = 0, mean = 0, mean_target = 0, expected = 0;
    size_t j, chosen = 0;
    for (j = 0; j < options; j++) {
        float value = target[j * ld] / unit;
        mean += y[j * ld] / (float)options;
        mean_target += value / (float)options;
        most = y[j * ld] > most ? y[j * ld] : most;
        chosen = value > best ? j : chosen;
        best = value > best ? value : best;
    }
    if (aim->kind == L2 || aim->kind == L1) {
        float each = share / (float)options, signs = 0;
        for (j = 0; j < options; j++) {
            float error = (y[j * ld] - mean) - (target[j * ld] / unit - mean_target);
            float sign = error > 0 ? 1.0f : error < 0 ? -1.0f : 0;
            loss += (double)((aim->kind == L1 ? fabsf(error) : error * error) * each);
            y[j * ld] = (aim->kind == L1 ? sign : 2.0f * error) * each;
            signs += y[j * ld] / (float)options;
        }
        for (j = 0; j < options; j++) {
            y[j * ld] -= signs;
        }
        return loss;
    }
    for (j = 0; j < options; j++) {
        sum += expf(y[j * ld] - most);
        sum_teacher += expf(2.0f * (target[j * ld] / unit - best));
    }
    for (j = 0; j < options; j++) {
        float lost = best - target[j * ld] / unit;
        expected += expf(y[j * ld] - most) / sum * (lost > 5.0f ? 5.0f : lost);
    }
    for (j = 0; j < options; j++) {
        float value = target[j * ld] / unit, likely = expf(y[j * ld] - most) / sum;
        float log_likely = y[j * ld] - most - logf(sum), wanted, lost = best - value;
        switch (aim->kind) {
        case KL:
            wanted = expf(2.0f * (value - best)) / sum_teacher;
            loss -= (double)(wanted * log_likely * share);
            y[j * ld] = (likely - wanted) * share;
            break;
        case CROSS_ENTROPY:
            wanted = j == chosen ? 1.0f : 0;
            loss -= (double)(wanted * log_likely * share);
            y[j * ld] = (likely - wanted) * share;
            break;
        default:
            lost = lost > 5.0f ? 5.0f : lost;
            y[j * ld] = likely * (lost - expected) * share;
            break;
        }
    }
    return aim->kind == REGRET ? (double)(expected * share) : loss;
}

/* The mean loss of n samples; y (outputs x ld) becomes its gradient, zero behind the samples. */
static double loss_gradient(
    const objective *aim, size_t outputs, float *y, const float *target, size_t ld, size_t n, float *slope)
{
    double total = 0;
    size_t o, c, first = 0;
    int group;
    if (!aim->n_groups) {
        for (o = 0; o < outputs; o++) {
            total += component_loss(aim, o, outputs, y + o * ld, target + o * ld, target + (outputs + o) * ld, n, slope);
        }
    }
    for (group = 0; group < aim->n_groups; group++) {
        size_t options = (size_t)aim->groups[group];
        for (c = 0; c < n; c++) {
            total += choice_loss(aim, options, y + first * ld + c, target + first * ld + c, ld, 1.0f / (float)n);
        }
        first += options;
    }
    for (o = 0; o < outputs; o++) {
        memset(y + o * ld + n, 0, (ld - n) * sizeof(float));
    }
    return total;
}

#endif

/* The walk over the trained weights, whatever their rounding. */
#include "kernels/common/exact.h"

#include "kernels/update/update_weights.h"

#define GATHERED 64 /* weights of selected channels that are stepped side by side */

/* factor = k * unit * power; false where it is not finite. It is exact but where it is subnormal, and then every step rounds to 0. */
static bool find_factor(float k, float unit, float power, float *factor)
{
    *factor = k * unit * power;
    return mct_is_finite_f32(*factor);
}

/* What trains now. */
typedef struct {
    const mct_index *index, *rows; /* or NULL */
    int32_t selected, outputs;     /* input and output channels */
} part;

static part part_of(const mct_update_weights_params *params, const mct_index *index, const mct_index *rows)
{
    return (part){index, rows, index != NULL ? index->count : params->in_channels, rows != NULL ? rows->count : params->out_channels};
}

static inline int32_t row_of(const part *trained, int32_t c)
{
    return trained->rows != NULL ? trained->rows->index[c] : c;
}

/* Magnitude bits of the largest step before the cap. Per channel, the largest |gradient * k| is that of the largest |gradient|. */
static uint32_t largest_step(const part *trained, int32_t taps, const mct_gradient *gradient, const float *factor, float learning_rate)
{
    const size_t count = (size_t)taps * (size_t)trained->selected;
    uint32_t largest = 0;

    for (int32_t c = 0; c < trained->outputs; c++) {
        const float k = learning_rate * factor[row_of(trained, c)];
        const float value = mct_float_from_bits(mct_largest_gradient(gradient, (size_t)c * count, count));
        const uint32_t magnitude = mct_magnitude_bits_f32(value * k);
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

/* gathered[i] = weights[index[i]]. Loads in a row are the cheaper ones, here and below. */
static inline void gather(const int8_t *weights, const int32_t *index, int32_t count, int8_t *gathered)
{
    for (; count >= 4; count -= 4, index += 4, gathered += 4) {
        const int32_t i0 = index[0], i1 = index[1], i2 = index[2], i3 = index[3];
        const int8_t w0 = weights[i0], w1 = weights[i1], w2 = weights[i2], w3 = weights[i3];

        MCT_LOAD_FENCE();
        gathered[0] = w0;
        gathered[1] = w1;
        gathered[2] = w2;
        gathered[3] = w3;
    }
    for (; count > 0; count--) {
        *gathered++ = weights[*index++];
    }
}

/* weights[index[i]] = gathered[i] */
static inline void scatter(const int8_t *gathered, const int32_t *index, int32_t count, int8_t *weights)
{
    for (; count >= 4; count -= 4, index += 4, gathered += 4) {
        const int32_t i0 = index[0], i1 = index[1], i2 = index[2], i3 = index[3];
        const int8_t w0 = gathered[0], w1 = gathered[1], w2 = gathered[2], w3 = gathered[3];

        MCT_LOAD_FENCE();
        weights[i0] = w0;
        weights[i1] = w1;
        weights[i2] = w2;
        weights[i3] = w3;
    }
    for (; count > 0; count--) {
        weights[*index++] = *gathered++;
    }
}

/* The weights of selected channels in `taps` rows: gathered, stepped side by side, and put back. */
static void run_selected(const mct_rounding *rounding, const mct_steps *steps, const int32_t *index, int32_t selected, int32_t taps,
                         int32_t row, int8_t *weights, void *state)
{
    int8_t gathered[GATHERED];

    for (int32_t tap = 0; tap < taps; tap++) {
        gather(weights + tap * row, index, selected, gathered + tap * selected);
    }
    rounding->run(steps, gathered, taps * selected, state);
    for (int32_t tap = 0; tap < taps; tap++) {
        scatter(gathered + tap * selected, index, selected, weights + tap * row);
    }
}

/* The trained weights of an output channel: as many rows, or as much of one, at a time as can be gathered. */
static void run_channel(const mct_rounding *rounding, const mct_update_weights_params *params, mct_steps *steps, const mct_index *index,
                        int8_t *weights, void *state)
{
    const int32_t row = params->in_channels, columns = index->count < GATHERED ? index->count : GATHERED;
    const int32_t most_taps = GATHERED / columns;

    for (int32_t tap = 0; tap < params->taps; tap += most_taps) {
        const int32_t taps = params->taps - tap < most_taps ? params->taps - tap : most_taps;

        for (int32_t j = 0; j < index->count; j += columns) {
            const int32_t count = index->count - j < columns ? index->count - j : columns;

            run_selected(rounding, steps, index->index + j, count, taps, row, weights + tap * row, state);
            steps->gradient = mct_gradient_from(&steps->gradient, (size_t)(taps * count));
        }
    }
}

mct_status mct_update_weights(const mct_rounding *rounding, const mct_update_weights_params *params, const mct_gradient *gradient,
                              const float *factor, const mct_index *index, const mct_index *rows, float learning_rate, int8_t *weights,
                              void *state)
{
    const part trained = part_of(params, index, rows);
    const int32_t of_channel = params->taps * params->in_channels;

    if (trained.selected == 0) {
        return MCT_OK; /* there are no steps, and none that is not finite */
    }
    const uint32_t largest_bits = largest_step(&trained, params->taps, gradient, factor, learning_rate);
    const float largest = mct_float_from_bits(largest_bits);
    mct_steps steps = {.gradient = *gradient, .weight_min = params->weight_min};
    const mct_status status = mct_step_ratio(largest_bits, params->step_cap, &steps.ratio);

    if (status != MCT_OK) {
        return status;
    }
    MCT_OBSERVE_UPDATE(weights, largest, steps.ratio);
    /* Before the cap, too, the largest step must be finite in units of the rounding. */
    const bool is_short = largest < 1e30f && largest * steps.ratio <= rounding->longest_step;

    for (int32_t c = 0; c < trained.outputs; c++) {
        const int32_t output = row_of(&trained, c);
        int8_t *const row = weights + output * of_channel;

        steps.k = learning_rate * factor[output];
        steps.is_short = find_factor(steps.k, rounding->unit, gradient->power, &steps.factor) && is_short;
        if (index == NULL) {
            rounding->run(&steps, row, of_channel, state);
            steps.gradient = mct_gradient_from(&steps.gradient, (size_t)of_channel);
        } else {
            run_channel(rounding, params, &steps, index, row, state);
        }
    }
    return MCT_OK;
}

/* What the roundings of a weight update share: the walk over the trained weights, and the short way to their steps. */
#ifndef MCT_KERNELS_UPDATE_WEIGHTS_H
#define MCT_KERNELS_UPDATE_WEIGHTS_H

#include <stdbool.h>

#include "kernels/common/channels.h"
#include "kernels/update/update.h"

/* Weights side by side that share k.
 *
 * The short way: with so many `unit`s of the rounding in a code, a power of two, step * unit = (float)sum * (k * unit * power) * ratio. The
 * factors in brackets but one are powers of two: the same values are rounded as in the order of docs/arithmetic.md, unless one of them is
 * subnormal. The steps are then below 2^-90 units, and round to 0 both ways. */
typedef struct {
    mct_gradient gradient; /* from the first weight's */
    float k, ratio;        /* step = gradient * k * ratio */
    bool is_short;         /* the short way is open */
    float factor;          /* k * unit * power */
    int32_t weight_min;
} mct_steps;

static inline float mct_step_at(const mct_steps *steps, int32_t i)
{
    return mct_gradient_at(&steps->gradient, (size_t)i) * steps->k * steps->ratio;
}

/* A rounding. run: apply the steps to `count` weights side by side and to the state that belongs to them, and step that on. */
typedef struct {
    float unit;         /* steps of the rounding in a code, a power of two */
    float longest_step; /* of the short way, in codes */
    void (*run)(const mct_steps *steps, int8_t *weights, int32_t count, void *state);
} mct_rounding;

MCT_MUST_CHECK mct_status mct_update_weights(const mct_rounding *rounding, const mct_update_weights_params *params,
                                             const mct_gradient *gradient, const float *factor, const mct_index *index,
                                             const mct_index *rows, float learning_rate, int8_t *weights, void *state);

/* Of `channels` those of a list, which has room for `most`, or all of them where there is none. */
static inline bool mct_part_valid(const mct_index *list, int32_t most, int32_t channels)
{
    return most > 0 && most <= channels && (list != NULL ? mct_index_valid(list, most, channels) : most == channels);
}

static inline bool mct_update_weights_valid(const mct_update_weights_params *params, const void *gradient, const float *factor,
                                            const mct_index *index, const mct_index *rows, const float *learning_rate,
                                            const int8_t *weights)
{
    return params != NULL && gradient != NULL && factor != NULL && learning_rate != NULL && weights != NULL && params->out_channels > 0 &&
           params->taps > 0 && params->in_channels > 0 && params->weight_min >= INT8_MIN && params->weight_min <= INT8_MAX &&
           mct_part_valid(index, params->most_selected, params->in_channels) &&
           mct_part_valid(rows, params->most_rows, params->out_channels);
}

#endif

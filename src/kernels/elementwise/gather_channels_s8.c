/* gather_channels: keep the channels of an activation whose weights train. */
#include "kernels/common/exact.h"

#include "mcutrain/forward.h"
#include "kernels/common/channels.h"
#include "kernels/common/compiler.h"

/* Four channels of every pixel, whose places stay in registers. */
static void gather_four(const mct_gather_channels_s8_params *params, const int8_t *x, const int32_t *index, int32_t selected, int8_t *y)
{
    const int32_t i0 = index[0], i1 = index[1], i2 = index[2], i3 = index[3];
    const int32_t in_channels = params->in_channels;

    for (int32_t pixels = params->pixels; pixels > 0; pixels--, x += in_channels, y += selected) {
        const int8_t x0 = x[i0], x1 = x[i1], x2 = x[i2], x3 = x[i3];

        MCT_LOAD_FENCE();
        y[0] = x0;
        y[1] = x1;
        y[2] = x2;
        y[3] = x3;
    }
}

static void gather_one(const mct_gather_channels_s8_params *params, const int8_t *x, int32_t selected, int8_t *y)
{
    const int32_t in_channels = params->in_channels;

    for (int32_t pixels = params->pixels; pixels > 0; pixels--, x += in_channels, y += selected) {
        *y = *x;
    }
}

mct_status mct_gather_channels_s8(const mct_gather_channels_s8_params *params, const int8_t *restrict x, const mct_index *restrict index,
                                  int8_t *restrict y)
{
    if (params == NULL || x == NULL || index == NULL || y == NULL || params->pixels <= 0 || params->most_selected <= 0 ||
        !mct_index_valid(index, params->most_selected, params->in_channels)) {
        return MCT_ERROR_ARGUMENT;
    }
    const int32_t selected = index->count, in_fours = selected / 4 * 4;

    for (int32_t j = 0; j < in_fours; j += 4) {
        gather_four(params, x, index->index + j, selected, y + j);
    }
    for (int32_t j = in_fours; j < selected; j++) {
        gather_one(params, x + index->index[j], selected, y + j);
    }
    return MCT_OK;
}

/* gather_channels: keep the channels of an activation whose weights train. */
#include "mcutrain/forward.h"

#include <stdbool.h>

static bool ascending(const int32_t *index, int32_t selected, int32_t in_channels)
{
    int32_t last = -1;

    for (int32_t j = 0; j < selected; j++) {
        if (index[j] <= last || index[j] >= in_channels) {
            return false;
        }
        last = index[j];
    }
    return true;
}

mct_status mct_gather_channels_s8(const mct_gather_channels_s8_params *params, const int8_t *restrict x, const int32_t *restrict index,
                                  int8_t *restrict y)
{
    if (params == NULL || x == NULL || index == NULL || y == NULL || params->pixels <= 0 || params->selected <= 0 ||
        !ascending(index, params->selected, params->in_channels)) {
        return MCT_ERROR_ARGUMENT;
    }
    const int32_t pixels = params->pixels, in_channels = params->in_channels, selected = params->selected;

    for (int32_t p = 0; p < pixels; p++, x += in_channels) {
        for (int32_t j = 0; j < selected; j++) {
            *y++ = x[index[j]];
        }
    }
    return MCT_OK;
}

/* Lists of channels that train. */
#ifndef MCT_KERNELS_CHANNELS_H
#define MCT_KERNELS_CHANNELS_H

#include <stdbool.h>

#include "mcutrain/types.h"

/* Whether a list has at most `most` elements, and these are channels of `channels`, ascending, none of them twice. */
static inline bool mct_index_valid(const mct_index *list, int32_t most, int32_t channels)
{
    int32_t last = -1;

    if (list->count < 0 || list->count > most) {
        return false;
    }
    for (int32_t j = 0; j < list->count; j++) {
        if (list->index[j] <= last || list->index[j] >= channels) {
            return false;
        }
        last = list->index[j];
    }
    return true;
}

#endif

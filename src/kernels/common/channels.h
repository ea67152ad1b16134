/* Lists of channels that train. */
#ifndef MCT_KERNELS_CHANNELS_H
#define MCT_KERNELS_CHANNELS_H

#include <stdbool.h>
#include <stdint.h>

/* Whether the index names channels of `channels`, ascending, none of them twice. */
static inline bool mct_channels_ascend(const int32_t *index, int32_t count, int32_t channels)
{
    int32_t last = -1;

    for (int32_t j = 0; j < count; j++) {
        if (index[j] <= last || index[j] >= channels) {
            return false;
        }
        last = index[j];
    }
    return true;
}

#endif

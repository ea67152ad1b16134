/* Elements moved by strides, of any size: what copy_s8 and copy_error share. */
#ifndef MCT_KERNELS_COPY_H
#define MCT_KERNELS_COPY_H

#include <stdbool.h>
#include <string.h>

#include "kernels/common/compiler.h"
#include "mcutrain/types.h"

/* Whether every element of one side, start + sum of i_d * stride_d, lies within `elements`. */
static inline bool mct_side_valid(const int32_t sizes[5], const int32_t strides[5], int32_t start, int32_t elements)
{
    int64_t lowest = start, highest = start;

    for (int32_t d = 0; d < 5; d++) {
        const int64_t reach = (int64_t)(sizes[d] - 1) * strides[d]; /* at most 2^62 beside ends that are within int32: no sum overflows */

        lowest += reach < 0 ? reach : 0;
        highest += reach > 0 ? reach : 0;
        if (lowest < 0 || highest >= elements) {
            return false;
        }
    }
    return true;
}

static inline bool mct_copy_valid(const mct_copy_params *p)
{
    if (p == NULL || p->size_0 <= 0 || p->size_1 <= 0 || p->size_2 <= 0 || p->size_3 <= 0 || p->size_4 <= 0) {
        return false;
    }
    const int32_t sizes[5] = {p->size_0, p->size_1, p->size_2, p->size_3, p->size_4};
    const int32_t source[5] = {p->source_stride_0, p->source_stride_1, p->source_stride_2, p->source_stride_3, p->source_stride_4};
    const int32_t target[5] = {p->target_stride_0, p->target_stride_1, p->target_stride_2, p->target_stride_3, p->target_stride_4};

    return mct_side_valid(sizes, source, p->source_start, p->source_elements) &&
           mct_side_valid(sizes, target, p->target_start, p->target_elements);
}

/* Whether the copied elements are all that the target has; of different places, as a plan's are. */
static inline bool mct_copy_covers(const mct_copy_params *p)
{
    const int32_t sizes[5] = {p->size_0, p->size_1, p->size_2, p->size_3, p->size_4};
    int64_t elements = 1;

    for (int32_t d = 0; d < 5 && elements <= p->target_elements; d++) {
        elements *= sizes[d]; /* below 2^62 */
    }
    return elements == p->target_elements;
}

static MCT_SPECIALISED void mct_copy_run(const mct_copy_params *p, int32_t bytes, const uint8_t *from, uint8_t *to)
{
    if (p->source_stride_4 == 1 && p->target_stride_4 == 1) {
        memcpy(to, from, (size_t)p->size_4 * (size_t)bytes);
        return;
    }
    const ptrdiff_t step_from = (ptrdiff_t)p->source_stride_4 * bytes, step_to = (ptrdiff_t)p->target_stride_4 * bytes;

    /* By offsets: a pointer must not leave its buffer, not even behind the last element. */
    ptrdiff_t at_from = 0, at_to = 0;

    for (int32_t i = p->size_4; i > 0; i--, at_from += step_from, at_to += step_to) {
        memcpy(to + at_to, from + at_from, (size_t)bytes);
    }
}

/* bytes: of one element. */
static MCT_SPECIALISED void mct_copy_elements(const mct_copy_params *p, int32_t bytes, const void *source, void *target)
{
    for (int32_t a = 0; a < p->size_0; a++) {
        for (int32_t b = 0; b < p->size_1; b++) {
            for (int32_t c = 0; c < p->size_2; c++) {
                for (int32_t d = 0; d < p->size_3; d++) {
                    const ptrdiff_t from = (ptrdiff_t)p->source_start + (ptrdiff_t)a * p->source_stride_0 +
                                           (ptrdiff_t)b * p->source_stride_1 + (ptrdiff_t)c * p->source_stride_2 +
                                           (ptrdiff_t)d * p->source_stride_3;
                    const ptrdiff_t to = (ptrdiff_t)p->target_start + (ptrdiff_t)a * p->target_stride_0 +
                                         (ptrdiff_t)b * p->target_stride_1 + (ptrdiff_t)c * p->target_stride_2 +
                                         (ptrdiff_t)d * p->target_stride_3;

                    mct_copy_run(p, bytes, (const uint8_t *)source + from * bytes, (uint8_t *)target + to * bytes);
                }
            }
        }
    }
}

#endif

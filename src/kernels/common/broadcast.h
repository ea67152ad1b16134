/* Operands that are repeated along the axes of an output. */
#ifndef MCT_KERNELS_BROADCAST_H
#define MCT_KERNELS_BROADCAST_H

#include <stdbool.h>

#include "mcutrain/types.h"

/* Sizes are positive and steps not negative; all elements can be counted in 31 bits. */
static inline bool mct_broadcast_valid(const mct_broadcast *b)
{
    const int32_t sizes[4] = {b->size_0, b->size_1, b->size_2, b->size_3};
    const int32_t steps[8] = {b->a_step_0, b->a_step_1, b->a_step_2, b->a_step_3, b->b_step_0, b->b_step_1, b->b_step_2, b->b_step_3};
    int64_t elements = 1;

    for (int32_t i = 0; i < 4; i++) {
        if (sizes[i] <= 0 || sizes[i] > INT32_MAX / elements) {
            return false;
        }
        elements *= sizes[i];
    }
    for (int32_t i = 0; i < 8; i++) {
        if (steps[i] < 0) {
            return false;
        }
    }
    return true;
}

static inline size_t mct_broadcast_elements(const mct_broadcast *b)
{
    return (size_t)b->size_0 * (size_t)b->size_1 * (size_t)b->size_2 * (size_t)b->size_3;
}

/* Elements of a: one behind its last. */
static inline size_t mct_broadcast_elements_of_a(const mct_broadcast *b)
{
    return (size_t)((b->size_0 - 1) * b->a_step_0 + (b->size_1 - 1) * b->a_step_1 + (b->size_2 - 1) * b->a_step_2 +
                    (b->size_3 - 1) * b->a_step_3 + 1);
}

/* One row of the output, along its last axis: where it begins in a and in b. */
typedef struct {
    int32_t index_0, index_1, index_2;
    size_t a, b;
} mct_broadcast_row;

/* The next row in the output's order; false behind the last one. */
static inline bool mct_broadcast_next(const mct_broadcast *b, mct_broadcast_row *row)
{
    row->index_2++;
    if (row->index_2 == b->size_2) {
        row->index_2 = 0;
        row->index_1++;
    }
    if (row->index_1 == b->size_1) {
        row->index_1 = 0;
        row->index_0++;
    }
    row->a = (size_t)(row->index_0 * b->a_step_0 + row->index_1 * b->a_step_1 + row->index_2 * b->a_step_2);
    row->b = (size_t)(row->index_0 * b->b_step_0 + row->index_1 * b->b_step_1 + row->index_2 * b->b_step_2);
    return row->index_0 < b->size_0;
}

#endif

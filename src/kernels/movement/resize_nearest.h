/* What resize_nearest and its error share. */
#ifndef MCT_KERNELS_RESIZE_NEAREST_H
#define MCT_KERNELS_RESIZE_NEAREST_H

#include <stdbool.h>

#include "mcutrain/types.h"

static inline bool mct_table_valid(const int32_t *table, int32_t count, int32_t size)
{
    for (int32_t i = 0; i < count; i++) {
        if (table[i] < 0 || table[i] >= size) {
            return false;
        }
    }
    return true;
}

static inline bool mct_resize_valid(const mct_resize_nearest_params *p, const int32_t *rows, const int32_t *columns)
{
    return p != NULL && rows != NULL && columns != NULL && p->in_height > 0 && p->in_width > 0 && p->channels > 0 && p->out_height > 0 &&
           p->out_width > 0 && mct_table_valid(rows, p->out_height, p->in_height) && mct_table_valid(columns, p->out_width, p->in_width);
}

/* The first element of an input pixel. */
static inline size_t mct_pixel_at(const mct_resize_nearest_params *p, int32_t row, int32_t column)
{
    return ((size_t)row * (size_t)p->in_width + (size_t)column) * (size_t)p->channels;
}

static inline size_t mct_resized_elements(const mct_resize_nearest_params *p)
{
    return (size_t)p->in_height * (size_t)p->in_width * (size_t)p->channels;
}

#endif

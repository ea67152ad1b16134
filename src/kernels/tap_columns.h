/* The columns of dW's DSP form: what taps read for consecutive output pixels, in pairs, less the zero point. */
#ifndef MCT_KERNELS_TAP_COLUMNS_H
#define MCT_KERNELS_TAP_COLUMNS_H

#include "backward_window.h"
#include "compiler.h"
#include "mcutrain/backward.h"
#include "outer_2x4.h"

/* Fewer input channels than a group has: then all taps' channels are columns of one outer product, not each tap's of its own. */
static inline bool mct_has_patches(const mct_window *window)
{
    return window->in_channels < MCT_OUTER_LANES && window->kernel_height * window->kernel_width > 1;
}

#if MCT_DSP

/* Goes over the inputs that a tap reads for consecutive output pixels. */
typedef struct {
    const int8_t *next;     /* first channel of the next one, or where it would be */
    int32_t step, row_step; /* to the next one in a row, and from the end of a row to the next row */
    int32_t column, columns;
    mct_tap_range inside;
} mct_tap_reader;

static inline mct_tap_reader mct_read_tap(const mct_window *window, mct_tap_range rows, mct_tap_range columns, const int8_t *x,
                                          int32_t pixel)
{
    const int32_t row = pixel / window->out_width, column = pixel % window->out_width;
    mct_tap_reader reader = {.column = column, .columns = window->out_width, .inside = columns};

    reader.step = window->stride_width * window->in_channels;
    reader.row_step = window->stride_height * window->in_width * window->in_channels - window->out_width * reader.step;
    reader.next = x + mct_tap_input_offset(window, rows, columns, row) + (column - columns.first) * reader.step;
    return reader;
}

/* NULL where the tap lies outside the image. */
static inline const int8_t *mct_next_pixel(mct_tap_reader *reader)
{
    const bool is_inside = reader->column >= reader->inside.first && reader->column < reader->inside.end;
    const int8_t *const pixel = is_inside ? reader->next : NULL;

    reader->next += reader->step;
    if (++reader->column == reader->columns) {
        reader->column = 0;
        reader->next += reader->row_step;
    }
    return pixel;
}

static inline void mct_pack_pair(int32_t low, int32_t high, int32_t zero_points, int32_t *columns)
{
    int32_t values[MCT_OUTER_LANES];

    mct_pair_columns(low, high, values);
    columns[0] = mct_ssub16(values[0], zero_points);
    columns[1] = mct_ssub16(values[1], zero_points);
    columns[2] = mct_ssub16(values[2], zero_points);
    columns[3] = mct_ssub16(values[3], zero_points);
}

/* The columns of a step: of two pixels, of each `channels` values less the zero point; a pixel may be missing (NULL), and counts as 0. */
static MCT_NOINLINE void mct_pack_pixels(const int8_t *low, const int8_t *high, int32_t channels, int32_t zero_points, int32_t *columns,
                                         int32_t group_step)
{
    int32_t outside[1];
    int32_t low_step = MCT_OUTER_LANES, high_step = MCT_OUTER_LANES;

    memset(outside, zero_points & 0xFF, sizeof outside);
    if (low == NULL) {
        low = (const int8_t *)outside;
        low_step = 0;
    }
    if (high == NULL) {
        high = (const int8_t *)outside;
        high_step = 0;
    }
    for (; channels >= MCT_OUTER_LANES; channels -= MCT_OUTER_LANES, low += low_step, high += high_step, columns += group_step) {
        mct_pack_pair(mct_load_word(low), mct_load_word(high), zero_points, columns);
    }
    if (channels > 0) {
        mct_pack_pair(mct_load_tail_s8(low, channels), mct_load_tail_s8(high, channels), zero_points, columns);
    }
}

/* The columns of a tap's input channels, x beginning at the first. */
static inline void mct_pack_tap(const mct_conv2d_gradient_params *params, mct_tap_range rows, mct_tap_range columns, const int8_t *x,
                                int32_t pixel, int32_t pixels, int32_t channels, const mct_outer_chunk *chunk)
{
    const int32_t zero_points = mct_both(params->input_zero_point);
    mct_tap_reader reader = mct_read_tap(&params->window, rows, columns, x, pixel);
    int32_t *words = chunk->columns;

    for (; pixels > 0; pixels -= 2, words += MCT_OUTER_LANES) {
        const int8_t *const low = mct_next_pixel(&reader), *const high = pixels > 1 ? mct_next_pixel(&reader) : NULL;

        mct_pack_pixels(low, high, channels, zero_points, words, chunk->steps * MCT_OUTER_LANES);
    }
}

/* Elements first to end - 1 of what all taps read for an output pixel: [kernel_height][kernel_width][in_channels]. */
static inline void mct_copy_patch(const mct_conv2d_gradient_params *params, const int8_t *x, int32_t pixel, int32_t first, int32_t end,
                                  int8_t *patch)
{
    const mct_window *const w = &params->window;
    const mct_taps rows = mct_rows_at(w, pixel / w->out_width), columns = mct_columns_at(w, pixel % w->out_width);
    const int32_t row_elements = w->kernel_width * w->in_channels;

    if (rows.end - rows.begin < w->kernel_height || columns.end - columns.begin < w->kernel_width) {
        memset(patch, params->input_zero_point, (size_t)(end - first));
    }
    for (int32_t row = rows.begin; row < rows.end; row++) {
        const int32_t start = row * row_elements + columns.begin * w->in_channels;
        const int32_t from = start < first ? first : start;
        const int32_t to = mct_smaller_s32(row * row_elements + columns.end * w->in_channels, end);

        if (from < to) {
            const int32_t input = (rows.origin + row) * w->in_width + columns.origin + columns.begin;

            memcpy(patch + from - first, x + input * w->in_channels + from - start, (size_t)(to - from));
        }
    }
}

/* Columns first to end - 1 of all taps' channels. patches: two of end - first elements. */
static inline void mct_pack_patches(const mct_conv2d_gradient_params *params, const int8_t *x, int32_t pixel, int32_t pixels, int32_t first,
                                    int32_t end, int8_t *patches, const mct_outer_chunk *chunk)
{
    const int32_t zero_points = mct_both(params->input_zero_point);
    int32_t *words = chunk->columns;

    for (; pixels > 0; pixels -= 2, pixel += 2, words += MCT_OUTER_LANES) {
        int8_t *const high = pixels > 1 ? patches + (end - first) : NULL;

        mct_copy_patch(params, x, pixel, first, end, patches);
        if (high != NULL) {
            mct_copy_patch(params, x, pixel + 1, first, end, high);
        }
        mct_pack_pixels(patches, high, end - first, zero_points, words, chunk->steps * MCT_OUTER_LANES);
    }
}

#endif
#endif

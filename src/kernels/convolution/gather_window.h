/* Windows of an image, gathered as int16 for the DSP form of conv2d (conv2d_quads.h, conv2d_s8.c). */
#ifndef MCT_KERNELS_GATHER_WINDOW_H
#define MCT_KERNELS_GATHER_WINDOW_H

#include <string.h>

#include "mcutrain/forward.h"
#include "kernels/common/window.h"
#include "kernels/convolution/widen_s8.h"

static inline int32_t mct_window_taps(const mct_window *w)
{
    return w->kernel_height * w->kernel_width * w->in_channels;
}

/* Taps of a gathered window: a whole number of the words of four that SXTB16 unpacks. */
static inline int32_t mct_gathered_taps(const mct_window *w)
{
    return (mct_window_taps(w) + 3) / 4 * 4;
}

#if MCT_DSP

/* memcpy of a few bytes, without its call. */
static inline void mct_copy_bytes(int8_t *target, const int8_t *source, int32_t count)
{
    if (count < 4) {
        for (int32_t i = 0; i < count; i++) {
            target[i] = source[i];
        }
        return;
    }
    for (int32_t i = 0; i < count - 4; i += 4) {
        mct_store_word(target + i, mct_load_word(source + i));
    }
    mct_store_word(target + count - 4, mct_load_word(source + count - 4)); /* what is left, and some of it again */
}

/* mct_widen_s8 for the pitches that there are, which it wants as literals: without optimisation a parameter is no constant. */
static MCT_SPECIALISED void mct_widen_apart(const int8_t *source, int32_t words, int32_t offsets, int32_t pitch, int32_t *target)
{
    if (pitch == 4) {
        mct_widen_s8(source, words, offsets, 4, target);
    } else if (pitch == 3) {
        mct_widen_s8(source, words, offsets, 3, target);
    } else {
        mct_widen_s8(source, words, offsets, 1, target);
    }
}

/* Gather the window of an output pixel, less the zero point, into words that are `pitch` apart: 4, 3 or 1, known at compile time. Taps
 * outside of the image are the zero point, which widens to 0. bytes: room for the window's taps as int8, where pixels are not whole words. */
static MCT_SPECIALISED void mct_gather_window(const mct_conv2d_s8_params *params, const int8_t *x, int32_t row, int32_t column,
                                              int8_t *bytes, int32_t pitch, int32_t *target)
{
    const mct_window *w = &params->window;
    const mct_taps rows = mct_rows_at(w, row), columns = mct_columns_at(w, column);
    const int32_t offsets = mct_both(-params->input_zero_point);
    const int32_t channels = w->in_channels, taps = mct_gathered_taps(w), image_row = w->in_width * channels;
    const int32_t run = w->kernel_width * channels, part = (columns.end - columns.begin) * channels;
    const bool is_whole = part * (rows.end - rows.begin) == taps;
    const int8_t *source = x + (rows.origin + rows.begin) * image_row + (columns.origin + columns.begin) * channels;
    int32_t at = rows.begin * run + columns.begin * channels;

    if (channels % 4 == 0) {
        if (!is_whole) {
            for (int32_t *word = target, *const end = target + taps / 2 * pitch; word != end; word += pitch) {
                *word = 0;
            }
        }
        for (int32_t k = rows.begin; k < rows.end; k++, source += image_row, at += run) {
            mct_widen_apart(source, part >> 2, offsets, pitch, target + at / 2 * pitch);
        }
        return;
    }
    if (!is_whole) {
        memset(bytes, params->input_zero_point, (size_t)taps);
    }
    for (int32_t k = rows.begin; k < rows.end; k++, source += image_row, at += run) {
        mct_copy_bytes(bytes + at, source, part);
    }
    mct_widen_apart(bytes, taps >> 2, offsets, pitch, target);
}

#endif
#endif

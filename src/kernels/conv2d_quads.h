/* conv2d by quads of pixels, the DSP form of most layers: gather many windows as int16, then for each two filters, widened to int16 once,
 * all quads of these (convolve_2x4.h). */
#ifndef MCT_KERNELS_CONV2D_QUADS_H
#define MCT_KERNELS_CONV2D_QUADS_H

#include "convolve_2x4.h"
#include "gather_window.h"
#include "mcutrain/forward.h"
#include "widen_s8.h"

enum { MCT_QUAD = MCT_DOT_COLUMNS, MCT_PAIR = MCT_DOT_ROWS };

/* How many windows are gathered at a time, a multiple of four; 0 where quads are not the way. A filter is widened once for them all: as many
 * as fit in six kilobytes of scratch, since that is part of what a layer takes of SRAM; from 64 on more would not be faster, and below 8
 * the smaller blocks that read filters as they are (dot_2x3.h) win. */
static inline int32_t mct_quads_pixels(const mct_window *w)
{
    const int32_t scratch_bytes = 6 * 1024, most = 64, fewest = 8;
    const int32_t pixels = w->out_height * w->out_width, taps = mct_gathered_taps(w);
    const int32_t pixel_bytes = taps * (int32_t)sizeof(int16_t) + MCT_QUAD, rows_bytes = taps * MCT_PAIR * (int32_t)sizeof(int16_t);

    if (pixels < MCT_QUAD || w->out_channels < MCT_PAIR || fewest * pixel_bytes > scratch_bytes - rows_bytes) {
        return 0;
    }
    const int32_t fitting = (scratch_bytes - rows_bytes) / pixel_bytes / MCT_QUAD * MCT_QUAD;
    const int32_t limit = fitting < most ? fitting : most;
    const int32_t rounds = (pixels + limit - 1) / limit;

    return ((pixels + rounds - 1) / rounds + MCT_QUAD - 1) / MCT_QUAD * MCT_QUAD;
}

/* Gathered windows, two rows of filters, and a word of mask for each quad and pair of channels out of four. */
static inline size_t mct_quads_scratch_bytes(const mct_window *w)
{
    const size_t taps = (size_t)mct_gathered_taps(w);

    return (size_t)mct_quads_pixels(w) * (taps * sizeof(int16_t) + MCT_QUAD) + MCT_PAIR * taps * sizeof(int16_t);
}

#if MCT_DSP

enum { MCT_PAIRS_OF_A_BYTE = 4 }; /* of mask */

typedef struct {
    const mct_conv2d_s8_params *params;
    const int8_t *x, *weights;
    const int32_t *bias, *multiplier, *shift;
    int8_t *y;
    uint32_t *inside;
    int32_t offsets;     /* minus the zero point, twice */
    int32_t taps, steps; /* of a filter; of a gathered window */
    int32_t run, pitch;  /* bytes of a window's row, and of the image's */
    int8_t *bytes;       /* room for a window of int8, and three more: pixels that are not whole words are put together there */
    int32_t *columns, *rows, *flags;
} mct_quads;

/* Widen a filter into one of the rows. Behind the last filter nothing may be read, so a tail is read by bytes. */
static inline void mct_widen_filter(const int8_t *filter, int32_t taps, int32_t *row)
{
    const int32_t tail = taps & 3;
    int32_t *const behind = mct_widen_s8(filter, taps >> 2, 0, MCT_PAIR, row);

    if (tail != 0) {
        const int32_t word = mct_load_tail_s8(filter + (taps - tail), tail);

        behind[0] = mct_sxtb16(word);
        behind[MCT_PAIR] = mct_sxtb16_ror8(word);
    }
}

/* Copy rows of `words` words, `pitch` bytes apart, to where they are `run` bytes apart: what is too much, the next row replaces. */
static inline void mct_copy_rows(const int8_t *source, int32_t pitch, int32_t rows, int32_t words, int32_t run, int8_t *target)
{
    for (int32_t k = 0; k < rows; k++, source += pitch, target += run) {
        int32_t i = 0;

        for (; i + 3 <= words; i += 3) { /* three pixels of three channels in one go */
            const int32_t a = mct_load_word(source + 4 * i), b = mct_load_word(source + 4 * i + 4), c = mct_load_word(source + 4 * i + 8);

            MCT_LOAD_FENCE();
            mct_store_word(target + 4 * i, a);
            mct_store_word(target + 4 * i + 4, b);
            mct_store_word(target + 4 * i + 8, c);
        }
        for (; i < words; i++) {
            mct_store_word(target + 4 * i, mct_load_word(source + 4 * i));
        }
    }
}

/* Gather a window that lies inside the image into one column. */
static MCT_NOINLINE void mct_gather_inside(const mct_quads *q, const int8_t *source, int32_t *column)
{
    const mct_window *w = &q->params->window;
    const int32_t run = q->run, pitch = q->pitch;

    if (run % 4 != 0) {
        mct_copy_rows(source, pitch, w->kernel_height, (run + 3) / 4, run, q->bytes);
        mct_widen_s8(q->bytes, q->steps >> 1, q->offsets, MCT_QUAD, column);
        return;
    }
    for (int32_t k = 0; k < w->kernel_height; k++, source += pitch) {
        column = mct_widen_s8(source, run >> 2, q->offsets, MCT_QUAD, column);
    }
}

/* Gather a window of which a part is outside into one column. */
static MCT_NOINLINE void mct_gather_border(const mct_quads *q, int32_t row, int32_t column, int32_t *target)
{
    mct_gather_window(q->params, q->x, row, column, q->bytes, MCT_QUAD, target);
}

/* Gather a quad of windows from an output pixel on. */
static MCT_NOINLINE void mct_gather_quad(const mct_quads *q, int32_t pixel, int32_t *target)
{
    const mct_window *w = &q->params->window;
    const int32_t width = w->out_width, stride = w->stride_width, channels = w->in_channels;
    const int32_t last_top = w->in_height - w->kernel_height, last_left = w->in_width - w->kernel_width;
    /* A window's last row may be copied in words up to here. */
    const int32_t last_source = w->in_height * q->pitch - (w->kernel_height - 1) * q->pitch - (q->run + 3) / 4 * 4;
    int32_t row = pixel / width, column = pixel - row * width;

    for (int32_t i = 0; i < MCT_QUAD; i++, target++) {
        const int32_t top = row * w->stride_height - w->pad_top, left = column * stride - w->pad_left;
        const int32_t source = top * q->pitch + left * channels;

        if (top >= 0 && left >= 0 && top <= last_top && left <= last_left && source <= last_source) {
            mct_gather_inside(q, q->x + source, target);
        } else {
            mct_gather_border(q, row, column, target);
        }
        if (++column == width) {
            column = 0;
            row++;
        }
    }
}

/* The first pixel of a quad: the last quad of an image that has no whole number of them begins earlier, and repeats some of the one
 * before. */
static inline int32_t mct_quad_pixel(const mct_window *w, int32_t pixel)
{
    const int32_t last = w->out_height * w->out_width - MCT_QUAD;

    return pixel < last ? pixel : last;
}

/* Write the collected mask of eight channels, whole bytes of it: these lie in memory in the order of a word's. */
static inline void mct_write_mask_bytes(const mct_quads *q, int32_t pixel, int32_t quads, int32_t channel)
{
    const mct_window *w = &q->params->window;
    const int32_t stride = w->out_channels / 8, *flags = q->flags;

    for (int32_t quad = 0; quad < quads; quad++, flags++) {
        const uint32_t low = (uint32_t)flags[0] | (uint32_t)flags[quads] << 2;
        const uint32_t word = low | (uint32_t)flags[2 * quads] << 4 | (uint32_t)flags[3 * quads] << 6;
        uint8_t *const byte = (uint8_t *)q->inside + mct_quad_pixel(w, pixel + quad * MCT_QUAD) * stride + channel / 8;

        byte[0] = (uint8_t)word;
        byte[stride] = (uint8_t)(word >> 8);
        byte[2 * stride] = (uint8_t)(word >> 16);
        byte[3 * stride] = (uint8_t)(word >> 24);
    }
}

/* Write the collected mask of up to four pairs of channels, from `channel` on, for the quads from `pixel` on. */
static MCT_NOINLINE void mct_write_mask(const mct_quads *q, int32_t pixel, int32_t quads, int32_t channel, int32_t pairs)
{
    const mct_window *w = &q->params->window;

    if (w->out_channels % 8 == 0) {
        mct_write_mask_bytes(q, pixel, quads, channel);
        return;
    }
    for (int32_t quad = 0; quad < quads; quad++) {
        uint32_t word = 0;
        for (int32_t pair = 0; pair < pairs; pair++) {
            word |= (uint32_t)q->flags[pair * quads + quad] << (MCT_PAIR * pair);
        }
        uint32_t i = (uint32_t)mct_quad_pixel(w, pixel + quad * MCT_QUAD) * (uint32_t)w->out_channels + (uint32_t)channel;
        for (int32_t p = 0; p < MCT_QUAD; p++, i += (uint32_t)w->out_channels, word >>= 8) {
            const uint32_t bits = word & 0xFFu, at = i % 32;

            q->inside[i / 32] |= bits << at;
            if (at > 24 && bits >> (32 - at) != 0) {
                q->inside[i / 32 + 1] |= bits >> (32 - at);
            }
        }
    }
}

/* Two channels from `channel` on, of the gathered quads from `pixel` on. Task holds what all channels share. */
static void mct_convolve_pair(const mct_quads *q, mct_convolve_2x4_task *task, int32_t pixel, int32_t quads, int32_t channel)
{
    const mct_window *w = &q->params->window;
    const int8_t *const filter = q->weights + (size_t)channel * (size_t)q->taps;
    const int32_t last = mct_quad_pixel(w, pixel + (quads - 1) * MCT_QUAD);
    const int32_t in_line = last == pixel + (quads - 1) * MCT_QUAD ? quads : quads - 1;
    const int32_t quad_words = q->steps * MCT_QUAD;
    mct_convolve_2x4_task *const t = task;

    for (int32_t i = 0; i < MCT_PAIR; i++) {
        const mct_prepared_scale scale = mct_prepare_scale(q->multiplier[channel + i], q->shift[channel + i]);

        t->bias[i] = q->bias[channel + i];
        t->multiplier[i] = scale.multiplier;
        t->power[i] = scale.power;
        mct_widen_filter(filter + i * q->taps, q->taps, q->rows + i);
    }
    if (in_line > 0) {
        t->y = q->y + (size_t)pixel * (size_t)w->out_channels + (size_t)channel;
        t->columns = q->columns - 2 - t->skip * MCT_QUAD;
        t->end = q->columns - 2 + in_line * quad_words;
        mct_convolve_2x4(t);
    }
    if (in_line < quads) {
        t->y = q->y + (size_t)last * (size_t)w->out_channels + (size_t)channel;
        t->columns = q->columns - 2 - t->skip * MCT_QUAD + in_line * quad_words;
        t->end = q->columns - 2 + quads * quad_words;
        mct_convolve_2x4(t);
    }
}

/* Gather `count` windows from output pixel `pixel` on, and all their outputs. */
static void mct_convolve_quads(const mct_quads *q, int32_t pixel, int32_t count)
{
    const mct_conv2d_s8_params *const p = q->params;
    const int32_t channels = p->window.out_channels, quads = (count + MCT_QUAD - 1) / MCT_QUAD;
    const int32_t skip = mct_dot_skip(q->steps);
    mct_convolve_2x4_task task = {
        .rows = q->rows - 2 - skip * MCT_PAIR,
        .skip = skip,
        .zero_point = p->output_zero_point,
        .channels = channels,
        .is_clamped = p->clamp_min > INT8_MIN || p->clamp_max < INT8_MAX,
        .low = q->inside == NULL ? mct_each_byte(p->clamp_min) : mct_both(p->clamp_min),
        .high = q->inside == NULL ? mct_each_byte(p->clamp_max) : mct_both(p->clamp_max),
        .skip_bytes = skip * MCT_QUAD * (int32_t)sizeof(int32_t),
        .row_end = q->rows - 2 + q->steps * MCT_PAIR,
    };

    for (int32_t quad = 0; quad < quads; quad++) {
        mct_gather_quad(q, mct_quad_pixel(&p->window, pixel + quad * MCT_QUAD), q->columns + quad * q->steps * MCT_QUAD);
    }
    for (int32_t channel = 0, pairs = 0; channel < channels; channel += MCT_PAIR) {
        /* A last single channel is computed together with the one before, again. */
        const bool is_single = channel + 1 == channels;

        if (is_single && pairs > 0) {
            mct_write_mask(q, pixel, quads, channel - pairs * MCT_PAIR, pairs);
            pairs = 0;
        }
        task.inside = q->inside == NULL ? NULL : q->flags + pairs * quads;
        mct_convolve_pair(q, &task, pixel, quads, is_single ? channel - 1 : channel);
        if (q->inside != NULL && (++pairs == MCT_PAIRS_OF_A_BYTE || channel + MCT_PAIR >= channels)) {
            mct_write_mask(q, pixel, quads, (is_single ? channel - 1 : channel) - (pairs - 1) * MCT_PAIR, pairs);
            pairs = 0;
        }
    }
}

/* All of a layer whose scales can be prepared (requantize.h), where mct_quads_pixels is not 0. */
static MCT_NOINLINE void mct_conv2d_quads(const mct_conv2d_s8_params *params, const int8_t *x, const int8_t *weights, const int32_t *bias,
                                          const int32_t *multiplier, const int32_t *shift, void *scratch, int8_t *y, uint32_t *inside)
{
    const mct_window *w = &params->window;
    const int32_t pixels = w->out_height * w->out_width, gathered = mct_quads_pixels(w), taps = mct_gathered_taps(w);
    const int32_t steps = taps / 2;
    int32_t *const columns = scratch, *const rows = columns + gathered * steps, *const flags = rows + MCT_PAIR * steps;
    const mct_quads q = {
        .params = params,
        .x = x,
        .weights = weights,
        .bias = bias,
        .multiplier = multiplier,
        .shift = shift,
        .y = y,
        .inside = inside,
        .offsets = mct_both(-params->input_zero_point),
        .taps = mct_window_taps(w),
        .steps = steps,
        .run = w->kernel_width * w->in_channels,
        .pitch = w->in_width * w->in_channels,
        .bytes = (int8_t *)rows, /* which are not widened yet */
        .columns = columns,
        .rows = rows,
        .flags = flags,
    };

    for (int32_t pixel = 0; pixel < pixels; pixel += gathered) {
        mct_convolve_quads(&q, pixel, pixels - pixel < gathered ? pixels - pixel : gathered);
    }
}

#endif
#endif

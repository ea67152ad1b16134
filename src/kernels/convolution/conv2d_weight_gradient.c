/* dW of a convolution. Both forms walk tap by tap: at one tap, dW[:][tap][:] is the sum over output pixels of the outer product of
 * g[oh][ow][:] and the one input pixel that the tap reads, so borders and strides are only loop ranges. Only where input channels are few
 * does the DSP form take all taps at once. */
#include "kernels/common/exact.h"

#include <string.h>

#include "mcutrain/backward.h"
#include "kernels/common/backward_window.h"
#include "kernels/common/channels.h"
#include "kernels/common/compiler.h"
#include "kernels/common/dsp.h"
#include "kernels/convolution/outer_2x4.h"
#include "kernels/convolution/outer_product.h"

/* Fewer input channels than a group has: then all taps' channels are columns of one outer product, not each tap's of its own. */
static inline bool mct_has_patches(const mct_window *window)
{
    return window->in_channels < MCT_OUTER_LANES && window->kernel_height * window->kernel_width > 1;
}

#if MCT_DSP

/* The columns: what taps read for consecutive output pixels, in pairs, less the zero point. */

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

static int is_valid(const mct_conv2d_gradient_params *params, const void *x, const void *g, const mct_index *index, const void *gradient)
{
    return params != NULL && x != NULL && g != NULL && gradient != NULL && mct_window_valid(&params->window) &&
           params->input_zero_point >= INT8_MIN && params->input_zero_point <= INT8_MAX &&
           (index == NULL || mct_index_valid(index, params->window.in_channels, INT32_MAX));
}

/* Input channels that x has now. */
static int32_t x_channels(const mct_conv2d_gradient_params *params, const mct_index *index)
{
    return index != NULL ? index->count : params->window.in_channels;
}

static size_t weight_elements(const mct_window *window)
{
    return (size_t)window->out_channels * (size_t)(window->kernel_height * window->kernel_width) * (size_t)window->in_channels;
}

/* First output element of a tap in output row `row`. */
static inline size_t g_offset(const mct_window *window, mct_tap_range columns, int32_t row)
{
    return ((size_t)row * (size_t)window->out_width + (size_t)columns.first) * (size_t)window->out_channels;
}

/* Sums take in this many pairs of pixels at once: more would leave room for fewer columns. Patches are of first layers, whose scratch is not
 * to be what a network needs most memory for. */
enum { MOST_STEPS = 32, MOST_STEPS_OF_PATCHES = 6 };

static mct_outer_shape shape_of(const mct_window *window)
{
    const int32_t pixels = window->out_height * window->out_width, taps = window->kernel_height * window->kernel_width;

    return mct_has_patches(window) ? mct_outer_shape_of(pixels, taps * window->in_channels, MOST_STEPS_OF_PATCHES)
                                   : mct_outer_shape_of(pixels, window->in_channels, MOST_STEPS);
}

size_t mct_conv2d_weight_gradient_b16_scratch_bytes(const mct_conv2d_gradient_params *params)
{
    const mct_outer_shape most = shape_of(&params->window);
    const int32_t patches = mct_has_patches(&params->window) ? 2 * most.groups * MCT_OUTER_LANES : 0;

    return mct_outer_scratch_bytes(most) + (size_t)patches;
}

/* The gradient to compute. Its chunks are those of as many input channels as x may have, whatever x has now: scratch has room for these. */
typedef struct {
    mct_conv2d_gradient_params params; /* of the input channels that x has */
    mct_outer_shape most;
    bool has_patches;
} gradient_task;

#if MCT_DSP

/* The rows of two output channels. What stands beside the last of an odd number of pixels is multiplied by 0. */
static MCT_NOINLINE void pack_g(const int16_t *restrict g, int32_t g_step, int32_t pixels, int32_t *restrict rows)
{
    for (; pixels >= 4; pixels -= 4, rows += 2 * MCT_DOT_ROWS) {
        const int32_t left = mct_load_word(g), right = mct_load_word(g + g_step);
        int32_t next_left, next_right;

        g += 2 * g_step;
        MCT_STEP_NOW(g);
        next_left = mct_load_word(g);
        next_right = mct_load_word(g + g_step);
        g += 2 * g_step;
        MCT_STEP_NOW(g);
        rows[0] = mct_pkhbt(left, right);
        rows[1] = mct_pkhtb(right, left);
        rows[2] = mct_pkhbt(next_left, next_right);
        rows[3] = mct_pkhtb(next_right, next_left);
    }
    if (pixels > 1) {
        const int32_t left = mct_load_word(g), right = mct_load_word(g + g_step);

        rows[0] = mct_pkhbt(left, right);
        rows[1] = mct_pkhtb(right, left);
        pixels -= 2;
        g += 2 * g_step;
        rows += MCT_DOT_ROWS;
    }
    if (pixels > 0) {
        rows[0] = g[0];
        rows[1] = g[1];
    }
}

/* Both rows of a last single output channel. */
static void pack_g_twice(const int16_t *g, int32_t g_step, int32_t pixels, int32_t *restrict rows)
{
    for (; pixels > 0; pixels -= 2, g += 2 * g_step, rows += MCT_DOT_ROWS) {
        rows[0] = mct_pkhbt(g[0], pixels > 1 ? g[g_step] : 0);
        rows[1] = rows[0];
    }
}

/* A last single output channel is computed twice, into the same sums. */
static void add_outputs(const mct_outer_chunk *chunk, const int16_t *g, int32_t channels, int32_t pixels, int32_t *gradient,
                        int32_t output_step)
{
    for (int32_t o = 0; o + 1 < channels; o += 2, gradient += 2 * output_step) {
        pack_g(g + o, channels, pixels, chunk->rows);
        mct_add_outer_2x4(chunk, gradient, gradient + output_step);
    }
    if (channels % 2 != 0) {
        pack_g_twice(g + channels - 1, channels, pixels, chunk->rows);
        mct_add_outer_2x4(chunk, gradient, gradient);
    }
}

/* dW of `inputs` input channels by one tap, or of all taps (patches). Whole rows of output pixels count, also where their columns lie
 * outside, so that g is read in its order. */
static void add_columns(const gradient_task *task, mct_tap_range rows, mct_tap_range columns, int32_t inputs, const int8_t *x,
                        const int16_t *g, int32_t *scratch, int32_t *gradient, int32_t output_step)
{
    const mct_window *const window = &task->params.window;
    const mct_outer_shape most = task->most;
    const int32_t channels = window->out_channels, end = rows.end * window->out_width;
    mct_outer_chunk chunk = mct_outer_chunk_in(scratch, most);
    int8_t *const patches = (int8_t *)(chunk.bounce + MCT_DOT_ROWS * MCT_OUTER_LANES);

    for (int32_t i = 0; i < inputs; i += most.groups * MCT_OUTER_LANES) {
        const int32_t count = mct_smaller_s32(most.groups * MCT_OUTER_LANES, inputs - i);

        chunk.groups = count / MCT_OUTER_LANES;
        chunk.lanes = count % MCT_OUTER_LANES;
        chunk.from_zero = true;
        for (int32_t pixel = rows.first * window->out_width; pixel < end; pixel += 2 * most.steps) {
            const int32_t pixels = mct_smaller_s32(2 * most.steps, end - pixel);

            chunk.steps = mct_outer_parts(pixels, 2);
            if (task->has_patches) {
                mct_pack_patches(&task->params, x, pixel, pixels, i, i + count, patches, &chunk);
            } else {
                mct_pack_tap(&task->params, rows, columns, x + i, pixel, pixels, count, &chunk);
            }
            add_outputs(&chunk, g + (size_t)pixel * (size_t)channels, channels, pixels, gradient + i, output_step);
            chunk.from_zero = false;
        }
    }
}

/* dW of one output pixel by one tap, as of a fully connected layer: a product each, so nothing is packed. */
static MCT_NOINLINE void multiply_pixel(const int8_t *x, int32_t inputs, int32_t zero_point, int16_t g, int32_t *gradient)
{
    const int32_t zero_points = mct_both(zero_point);

    for (; inputs >= 4; inputs -= 4, x += 4, gradient += 4) {
        const int32_t word = mct_load_word(x);
        const int32_t even = mct_ssub16(mct_sxtb16(word), zero_points), odd = mct_ssub16(mct_sxtb16_ror8(word), zero_points);

        gradient[0] = (int16_t)even * g;
        gradient[1] = (int16_t)odd * g;
        gradient[2] = (int16_t)(even >> 16) * g;
        gradient[3] = (int16_t)(odd >> 16) * g;
    }
    for (int32_t i = 0; i < inputs; i++) {
        gradient[i] = (x[i] - zero_point) * g;
    }
}

static void tap_gradient(const gradient_task *task, mct_tap_range rows, mct_tap_range columns, const int8_t *x, const int16_t *g,
                         void *scratch, int32_t *gradient, int32_t output_step)
{
    const mct_window *const window = &task->params.window;

    if (rows.end == rows.first || columns.end == columns.first) {
        for (int32_t o = 0; o < window->out_channels; o++) {
            memset(gradient + o * output_step, 0, (size_t)window->in_channels * sizeof *gradient);
        }
    } else if (window->out_height * window->out_width == 1) {
        for (int32_t o = 0; o < window->out_channels; o++) {
            multiply_pixel(x + mct_tap_input_offset(window, rows, columns, 0), window->in_channels, task->params.input_zero_point, g[o],
                           gradient + o * output_step);
        }
    } else {
        add_columns(task, rows, columns, window->in_channels, x, g, scratch, gradient, output_step);
    }
}

#else

static void tap_gradient(const gradient_task *task, mct_tap_range rows, mct_tap_range columns, const int8_t *x, const int16_t *g,
                         void *scratch, int32_t *gradient, int32_t output_step)
{
    const mct_window *const window = &task->params.window;
    const int32_t in_channels = window->in_channels, out_channels = window->out_channels;
    const int32_t x_step = window->stride_width * in_channels, width = columns.end - columns.first;

    (void)scratch;
    for (int32_t o = 0; o < out_channels; o++) {
        memset(gradient + o * output_step, 0, (size_t)in_channels * sizeof *gradient);
    }
    for (int32_t i = 0; i < in_channels; i += MCT_LANES) {
        const int32_t lanes = mct_smaller_s32(MCT_LANES, in_channels - i);

        for (int32_t row = rows.first; row < rows.end; row++) {
            const int8_t *x_pixel = x + mct_tap_input_offset(window, rows, columns, row) + i;
            const int16_t *g_pixel = g + g_offset(window, columns, row);

            for (int32_t column = 0; column < width; column += MCT_DEPTH, g_pixel += MCT_DEPTH * out_channels) {
                const int32_t depth = mct_smaller_s32(MCT_DEPTH, width - column);
                int16_t values[MCT_DEPTH][MCT_LANES] = {{0}};

                for (int32_t p = 0; p < depth; p++, x_pixel += x_step) {
                    for (int32_t lane = 0; lane < lanes; lane++) {
                        values[p][lane] = (int16_t)(x_pixel[lane] - task->params.input_zero_point);
                    }
                }
                for (int32_t o = 0; o < out_channels; o++) {
                    int32_t scalars[MCT_DEPTH] = {0};
                    for (int32_t p = 0; p < depth; p++) {
                        scalars[p] = g_pixel[p * out_channels + o];
                    }
                    mct_add_products_s32(gradient + o * output_step + i, values, scalars, lanes);
                }
            }
        }
    }
}

#endif

static void all_gradients(const gradient_task *task, const int8_t *x, const int16_t *g, void *scratch, int32_t *gradient)
{
    const mct_window *const window = &task->params.window;
    const int32_t taps = window->kernel_height * window->kernel_width, output_step = taps * window->in_channels;

#if MCT_DSP
    if (task->has_patches) {
        const mct_tap_range all_rows = {.end = window->out_height}, all_columns = {.end = window->out_width};

        add_columns(task, all_rows, all_columns, output_step, x, g, scratch, gradient, output_step);
        return;
    }
#endif
    for (int32_t tap = 0; tap < taps; tap++) {
        tap_gradient(task, mct_tap_rows(window, tap / window->kernel_width), mct_tap_columns(window, tap % window->kernel_width), x, g,
                     scratch, gradient + tap * window->in_channels, output_step);
    }
}

mct_status mct_conv2d_weight_gradient_b16(const mct_conv2d_gradient_params *params, const int8_t *x, const mct_b16 *g,
                                          const mct_index *index, void *scratch, mct_b32 *gradient)
{
    if (!is_valid(params, x, g, index, gradient) || scratch == NULL || (uintptr_t)scratch % 4 != 0) {
        return MCT_ERROR_ARGUMENT;
    }
    gradient_task task = {*params, shape_of(&params->window), mct_has_patches(&params->window)};

    task.params.window.in_channels = x_channels(params, index);
    gradient->exponent = g->exponent;
    all_gradients(&task, x, g->mantissa, scratch, gradient->mantissa);
    return MCT_OK;
}

/* Rows, then columns ascending: the stated order of each sum. */
static void add_tap_f32(const mct_conv2d_gradient_params *params, mct_tap_range rows, mct_tap_range columns, const int8_t *x,
                        const float *g, float *gradient, int32_t output_step)
{
    const mct_window *const window = &params->window;
    const int32_t in_channels = window->in_channels, out_channels = window->out_channels;
    const int32_t x_step = window->stride_width * in_channels, width = columns.end - columns.first;

    for (int32_t i = 0; i < in_channels; i += MCT_LANES) {
        const int32_t lanes = mct_smaller_s32(MCT_LANES, in_channels - i);

        for (int32_t row = rows.first; row < rows.end; row++) {
            const int8_t *x_pixel = x + mct_tap_input_offset(window, rows, columns, row) + i;
            const float *g_pixel = g + g_offset(window, columns, row);

            for (int32_t column = 0; column < width; column += MCT_DEPTH, g_pixel += MCT_DEPTH * out_channels) {
                const int32_t depth = mct_smaller_s32(MCT_DEPTH, width - column);
                float values[MCT_DEPTH][MCT_LANES] = {{0.0f}};

                for (int32_t p = 0; p < depth; p++, x_pixel += x_step) {
                    for (int32_t lane = 0; lane < lanes; lane++) {
                        values[p][lane] = (float)(x_pixel[lane] - params->input_zero_point);
                    }
                }
                for (int32_t o = 0; o < out_channels; o++) {
                    float scalars[MCT_DEPTH] = {0.0f};
                    for (int32_t p = 0; p < depth; p++) {
                        scalars[p] = g_pixel[p * out_channels + o];
                    }
                    mct_add_products_f32(gradient + o * output_step + i, values, scalars, lanes);
                }
            }
        }
    }
}

mct_status mct_conv2d_weight_gradient_f32(const mct_conv2d_gradient_params *params, const int8_t *x, const float *g, const mct_index *index,
                                          float *gradient)
{
    if (!is_valid(params, x, g, index, gradient)) {
        return MCT_ERROR_ARGUMENT;
    }
    mct_conv2d_gradient_params own = *params;
    const mct_window *const window = &own.window;
    const int32_t taps = window->kernel_height * window->kernel_width;

    own.window.in_channels = x_channels(params, index);
    for (size_t i = 0; i < weight_elements(window); i++) {
        gradient[i] = 0.0f;
    }
    for (int32_t tap = 0; tap < taps; tap++) {
        const mct_tap_range rows = mct_tap_rows(window, tap / window->kernel_width);
        const mct_tap_range columns = mct_tap_columns(window, tap % window->kernel_width);

        add_tap_f32(&own, rows, columns, x, g, gradient + tap * window->in_channels, taps * window->in_channels);
    }
    return MCT_OK;
}

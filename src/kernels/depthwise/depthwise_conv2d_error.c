/* dX of a depthwise convolution. In b16 each channel of g becomes a plane; an input pixel is then the dot product of a patch of it with
 * the flipped filter - with strides, with those taps of the filter that meet the pixel: one smaller filter for each residue of the row
 * and column modulo the stride. */
#include "kernels/common/exact.h"

#include <string.h>

#include "mcutrain/backward.h"
#include "kernels/depthwise/depthwise_plane.h"
#include "kernels/depthwise/plane_gather.h"

static bool is_valid(const mct_conv2d_gradient_params *params, const void *g, const void *weights, const void *out)
{
    return params != NULL && g != NULL && weights != NULL && out != NULL && mct_depthwise_window_valid(&params->window);
}

/* One axis of the geometry. */
typedef struct {
    int32_t in, out, kernel, stride, pad;
} axis;

static axis rows_of(const mct_window *w)
{
    return (axis){w->in_height, w->out_height, w->kernel_height, w->stride_height, w->pad_top};
}

static axis columns_of(const mct_window *w)
{
    return (axis){w->in_width, w->out_width, w->kernel_width, w->stride_width, w->pad_left};
}

/* Input i is read by output q - j at tap residue + stride * j, with (i + pad) = q * stride + residue and j from 0 to this number. */
static int32_t taps_of_residue(const axis *a, int32_t residue)
{
    return residue < a->kernel ? mct_ceil_divide(a->kernel - residue, a->stride) : 0;
}

static int32_t most_taps(const axis *a)
{
    return mct_ceil_divide(a->kernel, a->stride);
}

/* The least q of any residue: planes begin with what its taps ask for, so that with stride 1 the first word read is a whole one. */
static int32_t least_q(const axis *a)
{
    return a->pad / a->stride;
}

/* Room for every q, and for the outputs before the first that its taps ask for. */
static int32_t plane_side(const axis *a)
{
    return (a->in - 1 + a->pad) / a->stride + most_taps(a);
}

static mct_plane output_plane(const axis *rows, const axis *columns)
{
    const mct_plane plane = {
        .height = plane_side(rows),
        .width = mct_even(plane_side(columns) + 1), /* one more for the column that makes a filter's row even */
        .top = most_taps(rows) - 1 - least_q(rows),
        .left = most_taps(columns) - 1 - least_q(columns),
    };
    return plane;
}

static size_t filter_elements(const axis *rows, const axis *columns)
{
    return (size_t)most_taps(rows) * (size_t)mct_even(most_taps(columns));
}

size_t mct_depthwise_conv2d_error_b16_scratch_bytes(const mct_conv2d_gradient_params *params)
{
    const axis rows = rows_of(&params->window), columns = columns_of(&params->window);
    const mct_plane plane = output_plane(&rows, &columns);

    return (filter_elements(&rows, &columns) + mct_plane_elements(&plane)) * sizeof(int16_t);
}

static void gather(const mct_window *w, const mct_plane *plane, const int16_t *g, int16_t *values)
{
    const mct_gathering part = {.rows = mct_plane_rows(plane, w->out_height),
                                .columns = mct_plane_columns(plane, w->out_width),
                                .step = w->out_channels,
                                .row_step = w->out_width * w->out_channels,
                                .target_row_step = plane->width};

    mct_gather_plane_s16(g, part, values + plane->top * plane->width + plane->left);
}

/* The taps of one residue, flipped: rows * even(columns). */
static MCT_NOINLINE void pick_filter(const mct_window *w, const int8_t *weights, int32_t row_residue, int32_t column_residue, int32_t rows,
                                     int32_t columns, int16_t *filter)
{
    const int32_t stride = w->stride_width, row_step = w->stride_height * w->kernel_width;
    const int8_t *row = weights + row_residue * w->kernel_width + column_residue + (rows - 1) * row_step + (columns - 1) * stride;

    for (int32_t a = 0; a < rows; a++, row -= row_step) {
        const int8_t *tap = row;
        int16_t *const end = filter + columns;

        while (filter != end) {
            *filter++ = *tap;
            tap -= stride;
        }
        if (columns % 2 != 0) {
            *filter++ = 0;
        }
    }
}

/* First input of a residue: i + pad = residue modulo stride. */
static int32_t first_input(const axis *a, int32_t residue)
{
    const int32_t i = (residue - a->pad) % a->stride;

    return i < 0 ? i + a->stride : i;
}

/* The inputs of one residue: rows of `count`, each of which has its patch of the plane one row below that of the row above. */
typedef struct {
    const int16_t *x;
    int32_t x_step;
    int32_t rows, count;
    int32_t *sums;
    size_t step, row_step;
} input_grid;

static MCT_SPECIALISED void correlate_rows(const input_grid *inputs, const mct_plane_filter *filter, int32_t rows, int32_t width,
                                           bool is_written_out, bool add)
{
    const int16_t *x = inputs->x;
    int32_t *sums = inputs->sums;

    for (int32_t row = 0; row < inputs->rows; row++, x += inputs->x_step, sums += inputs->row_step) {
        const mct_plane_sums to = {.at = sums, .step = inputs->step, .first = 0, .add = add};

        mct_plane_correlate(x, inputs->x_step, filter, rows, width, is_written_out, inputs->count, to);
    }
}

/* Compiled apart for the usual filters. */
static MCT_NOINLINE void correlate_3x3(const input_grid *inputs, const mct_plane_filter *filter)
{
    correlate_rows(inputs, filter, 3, 3, true, false);
}

static MCT_NOINLINE void correlate_5(const input_grid *inputs, const mct_plane_filter *filter)
{
    correlate_rows(inputs, filter, filter->rows, 5, true, false);
}

static MCT_NOINLINE void correlate_7(const input_grid *inputs, const mct_plane_filter *filter)
{
    correlate_rows(inputs, filter, filter->rows, 7, true, false);
}

static MCT_NOINLINE void correlate_any(const input_grid *inputs, const mct_plane_filter *filter)
{
    correlate_rows(inputs, filter, filter->rows, filter->width, false, false);
}

/* Further outputs of the same input. */
static MCT_NOINLINE void add_correlation(const input_grid *inputs, const mct_plane_filter *filter)
{
    correlate_rows(inputs, filter, filter->rows, filter->width, false, true);
}

/* Store (first), or add, the sums of the inputs of one residue. */
static void correlate(const input_grid *inputs, const mct_plane_filter *filter, bool first)
{
    if (!first) {
        add_correlation(inputs, filter);
    } else if (filter->rows == 3 && filter->width == 3) {
        correlate_3x3(inputs, filter);
    } else if (filter->width == 5) {
        correlate_5(inputs, filter);
    } else if (filter->width == 7) {
        correlate_7(inputs, filter);
    } else {
        correlate_any(inputs, filter);
    }
}

typedef struct {
    int32_t row, column;
} residue;

static input_grid inputs_of(const mct_window *w, const mct_plane *plane, const int16_t *values, residue of, const mct_plane_filter *filter,
                            int32_t *sums)
{
    const axis rows = rows_of(w), columns = columns_of(w);
    const int32_t row = first_input(&rows, of.row), column = first_input(&columns, of.column);
    const int32_t row_q = (row + rows.pad) / rows.stride - filter->rows + 1 + plane->top;
    const int32_t column_q = (column + columns.pad) / columns.stride - filter->width + 1 + plane->left;
    const int32_t count = column < columns.in ? mct_ceil_divide(columns.in - column, columns.stride) : 0;
    const size_t pixel = (size_t)w->in_channels, line = (size_t)columns.in * pixel;

    return (input_grid){
        .x = values + row_q * plane->width + column_q,
        .x_step = plane->width,
        .rows = row < rows.in && count > 0 ? mct_ceil_divide(rows.in - row, rows.stride) : 0,
        .count = count,
        .sums = sums + (size_t)row * line + (size_t)column * pixel,
        .step = (size_t)columns.stride * pixel,
        .row_step = (size_t)rows.stride * line,
    };
}

mct_status mct_depthwise_conv2d_error_b16(const mct_conv2d_gradient_params *params, const mct_b16 *g, const int8_t *weights, void *scratch,
                                          mct_b32 *sums)
{
    if (!is_valid(params, g, weights, sums) || scratch == NULL || (uintptr_t)scratch % 4 != 0) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *const w = &params->window;
    const axis rows = rows_of(w), columns = columns_of(w);
    const mct_plane plane = output_plane(&rows, &columns);
    const int32_t outputs = w->out_channels / w->in_channels;
    int16_t *const filter = scratch, *const values = filter + filter_elements(&rows, &columns);
    mct_plane_filter part = {.values = filter};

    sums->exponent = g->exponent;
    memset(values, 0, mct_plane_elements(&plane) * sizeof *values);
    for (int32_t o = 0; o < w->out_channels; o++, weights += w->kernel_height * w->kernel_width) {
        residue of;

        gather(w, &plane, g->mantissa + o, values);
        for (of.row = 0; of.row < w->stride_height; of.row++) {
            for (of.column = 0; of.column < w->stride_width; of.column++) {
                part.width = taps_of_residue(&columns, of.column);
                part.rows = part.width == 0 ? 0 : taps_of_residue(&rows, of.row);
                pick_filter(w, weights, of.row, of.column, part.rows, part.width, filter);

                const input_grid inputs = inputs_of(w, &plane, values, of, &part, sums->mantissa + o / outputs);
                correlate(&inputs, &part, o % outputs == 0);
            }
        }
    }
    return MCT_OK;
}

/* One tap of one output per input channel: error += g * w where the tap lies inside the image. */
static void add_tap_f32(const mct_window *w, int32_t kernel_row, int32_t kernel_column, const float *g, const int8_t *weights, float *error)
{
    const mct_tap_range rows = mct_tap_rows(w, kernel_row), columns = mct_tap_columns(w, kernel_column);
    const int32_t taps = w->kernel_height * w->kernel_width, outputs = w->out_channels / w->in_channels;

    for (int32_t row = rows.first; row < rows.end; row++) {
        const int32_t input_row = rows.input + (row - rows.first) * w->stride_height;

        for (int32_t column = columns.first; column < columns.end; column++) {
            const int32_t input_column = columns.input + (column - columns.first) * w->stride_width;
            const float *pixel = g + (size_t)(row * w->out_width + column) * (size_t)w->out_channels;
            float *sum = error + (size_t)(input_row * w->in_width + input_column) * (size_t)w->in_channels;

            for (int32_t c = 0; c < w->in_channels; c++) {
                sum[c] += pixel[c * outputs] * (float)weights[c * outputs * taps];
            }
        }
    }
}

/* Taps ascending, and within a tap the outputs of a channel ascending: the stated order of each sum. */
mct_status mct_depthwise_conv2d_error_f32(const mct_conv2d_gradient_params *params, const float *g, const int8_t *weights, float *error)
{
    if (!is_valid(params, g, weights, error)) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_window *const w = &params->window;
    const int32_t taps = w->kernel_height * w->kernel_width, outputs = w->out_channels / w->in_channels;

    for (size_t i = 0; i < mct_input_elements(w); i++) {
        error[i] = 0.0f;
    }
    for (int32_t tap = 0; tap < taps; tap++) {
        for (int32_t m = 0; m < outputs; m++) {
            add_tap_f32(w, tap / w->kernel_width, tap % w->kernel_width, g + m, weights + m * taps + tap, error);
        }
    }
    return MCT_OK;
}

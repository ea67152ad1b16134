/* dX of a depthwise convolution. In b16 each channel of g becomes a plane; an input pixel is then the dot product of a patch of it with
 * the flipped filter - with strides, with those taps of the filter that meet the pixel: one smaller filter for each residue of the row
 * and column modulo the stride. */
#include <string.h>

#include "depthwise_plane.h"
#include "mcutrain/backward.h"

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

static MCT_NOINLINE void gather(const mct_window *w, const mct_plane *plane, const int16_t *restrict g, int16_t *restrict values)
{
    const int32_t rows = mct_plane_rows(plane, w->out_height), columns = mct_plane_columns(plane, w->out_width);
    const int32_t step = w->out_channels;

    for (int32_t row = 0; row < rows; row++) {
        const int16_t *source = g + (size_t)row * (size_t)w->out_width * (size_t)step;
        int16_t *target = values + (plane->top + row) * plane->width + plane->left;

        mct_plane_gather_s16(source, step, target, columns);
    }
}

/* The taps of one residue, flipped: rows * even(columns). */
static void pick_filter(const mct_window *w, const int8_t *weights, int32_t row_residue, int32_t column_residue, int32_t rows,
                        int32_t columns, int16_t *filter)
{
    const int32_t width = mct_even(columns);

    for (int32_t a = 0; a < rows; a++, filter += width) {
        const int8_t *row = weights + (row_residue + w->stride_height * (rows - 1 - a)) * w->kernel_width + column_residue;

        filter[width - 1] = 0;
        for (int32_t b = 0; b < columns; b++) {
            filter[b] = row[w->stride_width * (columns - 1 - b)];
        }
    }
}

/* First input of a residue: i + pad = residue modulo stride. */
static int32_t first_input(const axis *a, int32_t residue)
{
    const int32_t i = (residue - a->pad) % a->stride;

    return i < 0 ? i + a->stride : i;
}

typedef struct {
    const mct_plane *plane;
    const int16_t *values;
    mct_plane_filter filter;
    int32_t row_residue, column_residue;
} residue_filter;

/* Compiled apart for the usual filters. */
static MCT_NOINLINE void correlate_3x3(const int16_t *x, int32_t x_step, const mct_plane_filter *filter, int32_t count, size_t step,
                                       int32_t *sums)
{
    const mct_plane_sums row = {.at = sums, .step = step, .first = 0, .add = false};

    mct_plane_correlate(x, x_step, filter, 3, 3, true, count, row);
}

static MCT_NOINLINE void correlate_5(const int16_t *x, int32_t x_step, const mct_plane_filter *filter, int32_t count, size_t step,
                                     int32_t *sums)
{
    const mct_plane_sums row = {.at = sums, .step = step, .first = 0, .add = false};

    mct_plane_correlate(x, x_step, filter, filter->rows, 5, true, count, row);
}

static MCT_NOINLINE void correlate_7(const int16_t *x, int32_t x_step, const mct_plane_filter *filter, int32_t count, size_t step,
                                     int32_t *sums)
{
    const mct_plane_sums row = {.at = sums, .step = step, .first = 0, .add = false};

    mct_plane_correlate(x, x_step, filter, filter->rows, 7, true, count, row);
}

static MCT_NOINLINE void correlate_any(const int16_t *x, int32_t x_step, const mct_plane_filter *filter, int32_t count, size_t step,
                                       int32_t *sums)
{
    const mct_plane_sums row = {.at = sums, .step = step, .first = 0, .add = false};

    mct_plane_correlate(x, x_step, filter, filter->rows, filter->width, false, count, row);
}

/* Further outputs of the same input. */
static MCT_NOINLINE void add_correlation(const int16_t *x, int32_t x_step, const mct_plane_filter *filter, int32_t count, size_t step,
                                         int32_t *sums)
{
    const mct_plane_sums row = {.at = sums, .step = step, .first = 0, .add = true};

    mct_plane_correlate(x, x_step, filter, filter->rows, filter->width, false, count, row);
}

static void correlate_row(const int16_t *x, int32_t x_step, const mct_plane_filter *filter, int32_t count, bool first, size_t step,
                          int32_t *sums)
{
    if (!first) {
        add_correlation(x, x_step, filter, count, step, sums);
    } else if (filter->rows == 3 && filter->width == 3) {
        correlate_3x3(x, x_step, filter, count, step, sums);
    } else if (filter->width == 5) {
        correlate_5(x, x_step, filter, count, step, sums);
    } else if (filter->width == 7) {
        correlate_7(x, x_step, filter, count, step, sums);
    } else {
        correlate_any(x, x_step, filter, count, step, sums);
    }
}

/* Store (first), or add, the sums of the inputs of one residue. */
static MCT_NOINLINE void correlate(const mct_window *w, const residue_filter *f, bool first, int32_t *sums)
{
    const axis rows = rows_of(w), columns = columns_of(w);
    const int32_t first_column = first_input(&columns, f->column_residue);
    const int32_t count = mct_ceil_divide(columns.in - first_column, columns.stride);
    const int32_t column_q = (first_column + columns.pad) / columns.stride - f->filter.width + 1 + f->plane->left;
    const size_t step = (size_t)w->stride_width * (size_t)w->in_channels;

    for (int32_t i = first_input(&rows, f->row_residue); i < rows.in && count > 0; i += rows.stride) {
        const int32_t row_q = (i + rows.pad) / rows.stride - f->filter.rows + 1 + f->plane->top;

        int32_t *const row = sums + ((size_t)i * (size_t)columns.in + (size_t)first_column) * (size_t)w->in_channels;

        correlate_row(f->values + row_q * f->plane->width + column_q, f->plane->width, &f->filter, count, first, step, row);
    }
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
    residue_filter f = {.plane = &plane, .values = values, .filter = {.values = filter}};

    sums->exponent = g->exponent;
    memset(values, 0, mct_plane_elements(&plane) * sizeof *values);
    for (int32_t o = 0; o < w->out_channels; o++, weights += w->kernel_height * w->kernel_width) {
        gather(w, &plane, g->mantissa + o, values);
        for (f.row_residue = 0; f.row_residue < w->stride_height; f.row_residue++) {
            f.filter.rows = taps_of_residue(&rows, f.row_residue);
            for (f.column_residue = 0; f.column_residue < w->stride_width; f.column_residue++) {
                f.filter.width = taps_of_residue(&columns, f.column_residue);
                if (f.filter.width == 0) {
                    f.filter.rows = 0;
                } else {
                    pick_filter(w, weights, f.row_residue, f.column_residue, f.filter.rows, f.filter.width, filter);
                }
                correlate(w, &f, o % outputs == 0, sums->mantissa + o / outputs);
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

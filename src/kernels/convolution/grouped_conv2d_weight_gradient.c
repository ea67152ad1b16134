/* dW of a convolution with dilated taps and groups of channels. A tap of a filter is a sum over the output pixels whose tap lies inside the
 * image: borders, strides and dilation are loop ranges. Two filters by four input channels share what they read; a filter or a channel that
 * is left over goes alone. */
#include "kernels/common/exact.h"

#include "mcutrain/backward.h"
#include "kernels/common/channels.h"
#include "kernels/common/compiler.h"
#include "kernels/convolution/grouped_window.h"

typedef mct_grouped_conv2d_gradient_params gradient_params;

static bool is_depthwise(const gradient_params *params)
{
    return params->groups == params->window.in_channels;
}

/* What index is a list of. */
static int32_t selectable(const gradient_params *params)
{
    return is_depthwise(params) ? params->window.out_channels : params->window.in_channels / params->groups;
}

static bool is_valid(const gradient_params *params, const void *x, const void *g, const mct_index *index, const void *gradient)
{
    return params != NULL && x != NULL && g != NULL && gradient != NULL &&
           mct_grouped_window_valid(&params->window, params->dilation_height, params->dilation_width, params->groups) &&
           params->input_zero_point >= INT8_MIN && params->input_zero_point <= INT8_MAX &&
           (index == NULL || mct_index_valid(index, params->most_selected, selectable(params)));
}

/* Filters with consecutive output channels that read the same input channels. */
typedef struct {
    int32_t x_channels;      /* of all of x: from one pixel to the next */
    int32_t x, inputs;       /* first of the channels that they read, of x, and how many */
    int32_t output, outputs; /* first output channel */
    int32_t gradient_step;   /* from one filter's gradient to the next's */
    mct_tap_pixels tap;      /* under way */
} filters;

/* Of the first output that the tap reaches in output row `row`. */
static size_t x_offset(const mct_window *w, const filters *f, int32_t row)
{
    const int32_t input_row = f->tap.rows.input + (row - f->tap.rows.first) * w->stride_height;

    return (size_t)(input_row * w->in_width + f->tap.columns.input) * (size_t)f->x_channels;
}

static size_t g_offset(const mct_window *w, const filters *f, int32_t row)
{
    return (size_t)(row * w->out_width + f->tap.columns.first) * (size_t)w->out_channels;
}

/* Two filters by four input channels; next: from g of the first to that of the second, 0 where there is only one. */
static MCT_NOINLINE void sums_2x4(const gradient_params *params, const filters *f, const int8_t *x, const int16_t *g, int32_t next,
                                  int32_t *gradient_0, int32_t *gradient_1)
{
    const mct_window *const w = &params->window;
    const int32_t zero_point = params->input_zero_point, x_step = w->stride_width * f->x_channels, g_step = w->out_channels;
    int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;

    for (int32_t row = f->tap.rows.first; row < f->tap.rows.end; row++) {
        const int8_t *pixel = x + x_offset(w, f, row);
        const int16_t *error = g + g_offset(w, f, row);

        for (int32_t left = f->tap.columns.end - f->tap.columns.first; left > 0; left--, pixel += x_step, error += g_step) {
            const int32_t x0 = pixel[0] - zero_point, x1 = pixel[1] - zero_point;
            const int32_t x2 = pixel[2] - zero_point, x3 = pixel[3] - zero_point;
            const int32_t a = error[0], b = error[next];

            a0 += a * x0;
            a1 += a * x1;
            a2 += a * x2;
            a3 += a * x3;
            b0 += b * x0;
            b1 += b * x1;
            b2 += b * x2;
            b3 += b * x3;
        }
    }
    gradient_0[0] = a0;
    gradient_0[1] = a1;
    gradient_0[2] = a2;
    gradient_0[3] = a3;
    gradient_1[0] = b0;
    gradient_1[1] = b1;
    gradient_1[2] = b2;
    gradient_1[3] = b3;
}

static MCT_NOINLINE int32_t single_sum(const gradient_params *params, const filters *f, const int8_t *x, const int16_t *g)
{
    const mct_window *const w = &params->window;
    const int32_t zero_point = params->input_zero_point, x_step = w->stride_width * f->x_channels, g_step = w->out_channels;
    int32_t sum = 0;

    for (int32_t row = f->tap.rows.first; row < f->tap.rows.end; row++) {
        const int8_t *pixel = x + x_offset(w, f, row);
        const int16_t *error = g + g_offset(w, f, row);

        for (int32_t left = f->tap.columns.end - f->tap.columns.first; left > 0; left--, pixel += x_step, error += g_step) {
            sum += *error * (*pixel - zero_point);
        }
    }
    return sum;
}

/* gradient: of the first filter. */
static void all_sums(const gradient_params *params, filters *f, const int8_t *x, const int16_t *g, int32_t *gradient)
{
    x += f->x;
    g += f->output;
    for (int32_t tap = 0; tap < mct_kernel_taps(&params->window); tap++, gradient += f->inputs) {
        f->tap = mct_pixels_of_tap(&params->window, params->dilation_height, params->dilation_width, tap);
        for (int32_t o = 0; o < f->outputs; o += 2) {
            const int32_t next = o + 1 < f->outputs ? 1 : 0;
            int32_t *const gradient_0 = gradient + o * f->gradient_step, *const gradient_1 = gradient_0 + next * f->gradient_step;
            int32_t i = 0;

            for (; i + 4 <= f->inputs; i += 4) {
                sums_2x4(params, f, x + i, g + o, next, gradient_0 + i, gradient_1 + i);
            }
            for (; i < f->inputs; i++) {
                gradient_0[i] = single_sum(params, f, x + i, g + o);
                if (next != 0) {
                    gradient_1[i] = single_sum(params, f, x + i, g + o + 1);
                }
            }
        }
    }
}

/* Rows, then columns ascending: the stated order of each sum. */
static float single_sum_f32(const gradient_params *params, const filters *f, const int8_t *x, const float *g)
{
    const mct_window *const w = &params->window;
    const int32_t x_step = w->stride_width * f->x_channels, g_step = w->out_channels;
    float sum = 0.0f;

    for (int32_t row = f->tap.rows.first; row < f->tap.rows.end; row++) {
        const int8_t *pixel = x + x_offset(w, f, row);
        const float *error = g + g_offset(w, f, row);

        for (int32_t left = f->tap.columns.end - f->tap.columns.first; left > 0; left--, pixel += x_step, error += g_step) {
            sum += *error * (float)(*pixel - params->input_zero_point);
        }
    }
    return sum;
}

static void all_sums_f32(const gradient_params *params, filters *f, const int8_t *x, const float *g, float *gradient)
{
    for (int32_t tap = 0; tap < mct_kernel_taps(&params->window); tap++, gradient += f->inputs) {
        f->tap = mct_pixels_of_tap(&params->window, params->dilation_height, params->dilation_width, tap);
        for (int32_t o = 0; o < f->outputs; o++) {
            for (int32_t i = 0; i < f->inputs; i++) {
                gradient[o * f->gradient_step + i] = single_sum_f32(params, f, x + f->x + i, g + f->output + o);
            }
        }
    }
}

/* Goes over the filters that train: group by group, or, where output channels are listed, one by one. */
typedef struct {
    filters now;
    int32_t left;
    const int32_t *listed; /* output channels to come, or NULL */
    int32_t outputs;       /* of each input channel, where they are listed */
    int32_t input;         /* channel of the layer that the last one read */
} walk;

static walk walk_of(const gradient_params *params, const mct_index *index)
{
    const int32_t taps = mct_kernel_taps(&params->window), outputs = params->window.out_channels / params->groups;
    walk all = {.left = params->groups, .outputs = outputs, .input = -1};

    if (index != NULL && is_depthwise(params)) {
        all.listed = index->index;
        all.left = index->count;
        all.now = (filters){.x = -1, .inputs = 1, .outputs = 1, .gradient_step = taps};
        for (int32_t j = 0; j < index->count; j++) { /* x has each channel that is read once */
            all.now.x_channels += j == 0 || index->index[j] / outputs != index->index[j - 1] / outputs;
        }
        return all;
    }
    const int32_t inputs = index != NULL ? index->count : params->window.in_channels / params->groups;

    all.now = (filters){.x_channels = params->groups * inputs, .x = -inputs, .inputs = inputs, .output = -outputs, .outputs = outputs};
    all.now.gradient_step = taps * inputs;
    return all;
}

static bool next_filters(walk *all)
{
    if (all->left-- <= 0) {
        return false;
    }
    if (all->listed == NULL) {
        all->now.x += all->now.inputs;
        all->now.output += all->now.outputs;
        return true;
    }
    all->now.output = *all->listed++;
    all->now.x += all->now.output / all->outputs != all->input;
    all->input = all->now.output / all->outputs;
    return true;
}

mct_status mct_grouped_conv2d_weight_gradient_b16(const gradient_params *params, const int8_t *x, const mct_b16 *g, const mct_index *index,
                                                  mct_b32 *gradient)
{
    if (!is_valid(params, x, g, index, gradient)) {
        return MCT_ERROR_ARGUMENT;
    }
    int32_t *mantissa = gradient->mantissa;
    walk all = walk_of(params, index);

    gradient->exponent = g->exponent;
    for (; next_filters(&all); mantissa += all.now.outputs * all.now.gradient_step) {
        all_sums(params, &all.now, x, g->mantissa, mantissa);
    }
    return MCT_OK;
}

mct_status mct_grouped_conv2d_weight_gradient_f32(const gradient_params *params, const int8_t *x, const float *g, const mct_index *index,
                                                  float *gradient)
{
    if (!is_valid(params, x, g, index, gradient)) {
        return MCT_ERROR_ARGUMENT;
    }
    walk all = walk_of(params, index);

    for (; next_filters(&all); gradient += all.now.outputs * all.now.gradient_step) {
        all_sums_f32(params, &all.now, x, g, gradient);
    }
    return MCT_OK;
}

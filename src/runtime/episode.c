/* The mean squared errors of an evaluation are summed up here: the same bits as golden has. */
#include "kernels/common/exact.h"

#include "mcutrain/episode.h"

#include "image.h"
#include "kernels/common/float_math.h"
#include "model/crc32.h"
#include "protocol.h"
#include "state.h"

#define PROTOCOL_VERSION 3u
#define NO_OPERATOR 0xffffffffu
#define DUMP_BYTES_PER_LINE 64u

mct_runtime_state mct_runtime;
uint32_t mct_trace;

_Static_assert(sizeof(mct_runtime) + sizeof(mct_trace) == MCT_RUNTIME_STATIC_BYTES, "the planner counts on this size");

static void print_boot(const mct_model *model, const mct_port_info *port, uint32_t image_crc32)
{
    mct_line_begin("boot");
    mct_line_hex("plan", model->plan_crc32);
    mct_line_hex("image", image_crc32);
    mct_line_decimal("protocol", PROTOCOL_VERSION);
    mct_line_text("board", port->board);
    mct_line_decimal("data", port->data_bytes);
    mct_line_decimal("bss", port->bss_bytes);
    mct_line_decimal("arena", model->arena_bytes);
    mct_line_decimal("trainable", model->trainable_bytes + model->state_bytes);
    mct_line_decimal("stack", port->stack_reserve_bytes);
    mct_line_end();
}

static mct_status print_end(mct_status status)
{
    const uint32_t lines = mct_runtime.lines;

    mct_line_begin("end");
    mct_line_decimal("status", (uint32_t)status);
    mct_line_decimal("lines", lines);
    mct_line_decimal("stack_peak", mct_port_stack_peak_bytes());
    mct_line_end();
    return status;
}

static void print_prediction(const mct_model *model, const char *set, uint32_t n)
{
    mct_line_begin("prediction");
    mct_line_text("set", set);
    mct_line_decimal("n", n);
    mct_line_decimal("class", (uint32_t)mct_prediction(model));
    mct_line_hex("output", model->output_bytes > 0 ? mct_crc32(0, model->output, model->output_bytes) : 0);
    mct_line_end();
}

/* What an evaluation has seen so far. */
typedef struct {
    uint32_t correct; /* samples whose class was right */
    uint32_t digest;
    float error; /* sum of the samples' mean squared errors, */
    float lost;  /* and what its roundings have added to it, by Kahan: a plain sum of many samples would drift */
} tally;

/* Count the n-th test sample, which has just been inferred. */
static mct_status count(const mct_model *model, const mct_image *image, uint32_t n, tally *seen)
{
    const int32_t prediction = mct_prediction(model);

    seen->digest = mct_crc32(seen->digest, &prediction, sizeof(prediction));
    seen->digest = mct_crc32(seen->digest, model->output, model->output_bytes);
    if (model->target_values == 0) {
        seen->correct += prediction == (int32_t)image->test_targets.labels[n] ? 1u : 0u;
        return MCT_OK;
    }
    float error = 0.0f;
    const mct_status status = mct_squared_error(model, image->test_targets.values + (size_t)n * model->target_values, &error);

    if (status != MCT_OK) {
        return status;
    }
    const float corrected = error - seen->lost;
    const float sum = seen->error + corrected;

    seen->lost = (sum - seen->error) - corrected;
    seen->error = sum;
    return mct_is_finite_f32(sum) ? MCT_OK : MCT_ERROR_NOT_FINITE;
}

static void print_evaluation(const mct_model *model, const char *set, uint32_t total, const tally *seen)
{
    mct_line_begin(model->target_values == 0 ? "evaluation" : "regression");
    mct_line_text("set", set);
    if (model->target_values == 0) {
        mct_line_decimal("correct", seen->correct);
    } else {
        mct_line_hex("error", total > 0 ? mct_float_bits(seen->error / (float)total) : 0);
    }
    mct_line_decimal("total", total);
    mct_line_hex("digest", seen->digest);
    mct_line_end();
}

static mct_status evaluate(const mct_model *model, const mct_image *image, const char *set)
{
    const uint32_t total = image->header->test_count;
    tally seen = {0};

    for (uint32_t n = 0; n < total; n++) {
        mct_mark_infer_begin();
        mct_status status = mct_infer(model, (const int8_t *)(image->test_samples + (size_t)n * image->sample_stride));
        mct_mark_infer_end();
        if (status == MCT_OK) {
            status = count(model, image, n, &seen);
        }
        if (status != MCT_OK) {
            return status;
        }
        if ((image->header->flags & MCT_IMAGE_PREDICTIONS) != 0) {
            print_prediction(model, set, n);
        }
    }
    print_evaluation(model, set, total, &seen);
    return MCT_OK;
}

/* Whether the n-th sample ends a minibatch. The last one, where it is cut short, counts if the image says that the schedule ends there. */
static int ends_batch(const mct_model *model, const mct_image_header *header, uint32_t n)
{
    return (n + 1u) % model->batch == 0 || (n + 1u == header->steps && (header->flags & MCT_IMAGE_ENDS) != 0);
}

/* Train on the n-th sample, and end the minibatch behind it. */
static mct_status train(const mct_model *model, const mct_image *image, uint32_t n)
{
    const mct_image_header *header = image->header;
    const uint32_t sample = image->order[n];
    const uint32_t rate = n / header->steps_per_learning_rate;
    const uint32_t last_rate = header->learning_rate_count - 1u;
    mct_status status = mct_set_learning_rate(model, image->learning_rates[rate < last_rate ? rate : last_rate]);

    if (status == MCT_OK) {
        const int8_t *codes = (const int8_t *)(image->adapt_samples + (size_t)sample * image->sample_stride);

        status = model->target_values > 0
                     ? mct_train_values(model, codes, image->adapt_targets.values + (size_t)sample * model->target_values)
                     : mct_train(model, codes, (int32_t)image->adapt_targets.labels[sample]);
    }
    if (status == MCT_OK && ends_batch(model, header, n)) {
        status = mct_end_batch(model);
    }
    return status;
}

static mct_status train_step(const mct_model *model, const mct_image *image, uint32_t n)
{
    const mct_image_header *header = image->header;

    mct_runtime.step = n;
    mct_trace = (header->flags & MCT_IMAGE_TRACE) != 0 && n == header->trace_step ? 1u : 0u;
    mct_mark_step_begin();
    const mct_status status = train(model, image, n);
    mct_mark_step_end();
    mct_trace = 0;
    if (status != MCT_OK) {
        return status;
    }
    const int digest_is_due = (n + 1u) % header->digest_every == 0 || n + 1u == header->steps;
    mct_line_begin("step");
    mct_line_decimal("n", n);
    mct_line_hex("loss", mct_float_bits(mct_loss(model)));
    mct_line_decimal("prediction", (uint32_t)mct_prediction(model));
    mct_line_hex("digest", digest_is_due ? mct_digest(model) : 0);
    mct_line_end();
    return MCT_OK;
}

static mct_status run(const mct_model *model, const mct_image *image)
{
    const mct_image_header *header = image->header;

    mct_runtime.dump_op = header->dump_op;
    mct_runtime.dump_visit = header->dump_visit;
    mct_reset(model);
    mct_status status = mct_seed(model, header->seed);
    if ((header->flags & MCT_IMAGE_EVALUATE_BEFORE) != 0 && status == MCT_OK) {
        status = evaluate(model, image, "before");
    }
    for (uint32_t n = 0; n < header->steps && status == MCT_OK; n++) {
        status = train_step(model, image, n);
    }
    if ((header->flags & MCT_IMAGE_EVALUATE_AFTER) != 0 && status == MCT_OK) {
        status = evaluate(model, image, "after");
    }
    return status;
}

mct_status mct_episode_run(const mct_model *model, const uint8_t *image_address, const mct_port_info *port)
{
    mct_image image;

    mct_runtime = (mct_runtime_state){.dump_op = NO_OPERATOR};
    mct_trace = 0;
    const mct_status status = mct_image_open(model, image_address, port->external_bytes, &image);
    print_boot(model, port, status == MCT_OK ? image.header->crc32 : 0);
    return print_end(status == MCT_OK ? run(model, &image) : status);
}

static void dump(const mct_model_tensor *tensor, uint32_t visit)
{
    const uint8_t *bytes = tensor->data;

    for (uint32_t offset = 0; offset < tensor->size_bytes; offset += DUMP_BYTES_PER_LINE) {
        const uint32_t left = tensor->size_bytes - offset;

        mct_line_begin("dump");
        mct_line_decimal("n", mct_runtime.step);
        mct_line_decimal("op", tensor->op);
        mct_line_decimal("visit", visit);
        mct_line_decimal("output", tensor->output);
        mct_line_decimal("offset", offset);
        mct_line_bytes("bytes", bytes + offset, left < DUMP_BYTES_PER_LINE ? left : DUMP_BYTES_PER_LINE);
        mct_line_end();
    }
}

void mct_traced(const mct_model *model, uint32_t op, uint32_t visit)
{
    for (uint32_t i = 0; i < model->trace_count; i++) {
        const mct_model_tensor *tensor = &model->trace[i];

        if (tensor->op != op) {
            continue;
        }
        mct_line_begin("trace");
        mct_line_decimal("n", mct_runtime.step);
        mct_line_decimal("op", op);
        mct_line_decimal("visit", visit);
        mct_line_decimal("output", tensor->output);
        mct_line_hex("crc", mct_crc32(0, tensor->data, tensor->size_bytes));
        mct_line_end();
        if (op == mct_runtime.dump_op && visit == mct_runtime.dump_visit) {
            dump(tensor, visit);
        }
    }
}

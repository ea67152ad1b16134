/* What a program does with a model, whatever its network: the generated code only has the three programs. */
#include "kernels/common/exact.h"

#include "mcutrain/model.h"

#include <string.h>

#include "kernels/common/float_math.h"
#include "model/crc32.h"

#define SAVED_MAGIC 0x5354434du /* "MCTS" */
#define SAVED_VERSION 1u

/* Ahead of the state in what mct_save writes. crc32 covers all that comes behind it. */
typedef struct {
    uint32_t magic, version, crc32, plan_crc32, state_bytes, random, samples;
} saved_header;

static uint32_t persistent_bytes(const mct_model *model)
{
    return model->trainable_bytes + model->state_bytes;
}

void mct_reset(const mct_model *model)
{
    if (model->trainable_bytes > 0) {
        memcpy(model->trainable, model->initial, model->trainable_bytes);
    }
    if (model->state_bytes > 0) {
        memset(model->trainable + model->trainable_bytes, 0, model->state_bytes);
    }
    *model->io = (mct_model_io){.random = 1u};
}

mct_status mct_seed(const mct_model *model, uint32_t seed)
{
    if (seed == 0) {
        return MCT_ERROR_ARGUMENT;
    }
    model->io->random = seed;
    return MCT_OK;
}

mct_status mct_set_learning_rate(const mct_model *model, float learning_rate)
{
    if (!mct_is_finite_f32(learning_rate) || learning_rate < 0.0f) {
        return MCT_ERROR_ARGUMENT;
    }
    model->io->learning_rate = learning_rate;
    return MCT_OK;
}

static void load(const mct_model *model, const int8_t *sample)
{
    if (model->input == NULL) {
        model->io->input = sample;
    } else if (sample != model->input) {
        memcpy(model->input, sample, model->input_bytes);
    }
}

mct_status mct_infer(const mct_model *model, const int8_t *sample)
{
    if (sample == NULL) {
        return MCT_ERROR_ARGUMENT;
    }
    load(model, sample);
    return model->infer();
}

static int takes_a_sample(const mct_model *model)
{
    return model->sample != NULL && (model->update == NULL || (uint32_t)model->io->samples < model->batch);
}

/* Run the program over the sample; what it is to be has been set. */
static mct_status train(const mct_model *model, const int8_t *sample)
{
    load(model, sample);
    const mct_status status = model->sample();

    if (status == MCT_OK && model->update != NULL) {
        model->io->samples++;
    }
    return status;
}

mct_status mct_train(const mct_model *model, const int8_t *sample, int32_t label)
{
    if (sample == NULL || !takes_a_sample(model) || model->target_values > 0 || label < 0 || (uint32_t)label >= model->classes) {
        return MCT_ERROR_ARGUMENT;
    }
    model->io->wanted.label = label;
    return train(model, sample);
}

mct_status mct_train_values(const mct_model *model, const int8_t *sample, const float *target)
{
    if (sample == NULL || !takes_a_sample(model) || model->target_values == 0 || target == NULL) {
        return MCT_ERROR_ARGUMENT;
    }
    for (uint32_t o = 0; o < model->target_values; o++) {
        if (!mct_is_finite_f32(target[o])) {
            return MCT_ERROR_ARGUMENT;
        }
    }
    model->io->wanted.target = target;
    const mct_status status = train(model, sample);

    model->io->wanted.target = NULL;
    return status;
}

mct_status mct_end_batch(const mct_model *model)
{
    if (model->update == NULL) {
        return MCT_OK;
    }
    if (model->io->samples == 0) {
        return MCT_ERROR_ARGUMENT;
    }
    const mct_status status = model->update();

    if (status == MCT_OK) {
        model->io->samples = 0;
    }
    return status;
}

int8_t *mct_input(const mct_model *model)
{
    return model->input;
}

int32_t mct_prediction(const mct_model *model)
{
    return model->io->prediction;
}

float mct_loss(const mct_model *model)
{
    return model->io->loss;
}

const float *mct_logits(const mct_model *model)
{
    return model->logits;
}

const int8_t *mct_output(const mct_model *model)
{
    return model->output;
}

/* docs/arithmetic.md, "Head and loss": the same p as the loss has. */
mct_status mct_probabilities(const mct_model *model, float *probabilities)
{
    const float *const logits = model->logits;

    if (logits == NULL || probabilities == NULL) {
        return MCT_ERROR_ARGUMENT;
    }
    float most = logits[0], sum = 0.0f;

    for (uint32_t o = 1; o < model->classes; o++) {
        most = logits[o] > most ? logits[o] : most;
    }
    for (uint32_t o = 0; o < model->classes; o++) {
        probabilities[o] = mct_exp_f32(logits[o] - most);
        sum += probabilities[o];
    }
    for (uint32_t o = 0; o < model->classes; o++) {
        probabilities[o] /= sum;
    }
    return MCT_OK;
}

static float output_value(const mct_model *model, uint32_t o)
{
    return model->logits != NULL ? model->logits[o] : (float)(model->output[o] - model->output_zero_point) * model->output_scale;
}

/* docs/arithmetic.md, "Head and loss": the same sum as the loss has. */
mct_status mct_squared_error(const mct_model *model, const float *target, float *mean_squared_error)
{
    float sum = 0.0f;

    if (target == NULL || mean_squared_error == NULL) {
        return MCT_ERROR_ARGUMENT;
    }
    for (uint32_t o = 0; o < model->classes; o++) {
        const float difference = output_value(model, o) - target[o];

        sum = sum + difference * difference;
    }
    if (!mct_is_finite_f32(sum)) {
        return MCT_ERROR_NOT_FINITE;
    }
    *mean_squared_error = sum / (float)model->classes;
    return MCT_OK;
}

uint32_t mct_digest(const mct_model *model)
{
    return mct_crc32(0, model->trainable, persistent_bytes(model));
}

size_t mct_saved_bytes(const mct_model *model)
{
    return sizeof(saved_header) + persistent_bytes(model);
}

static uint32_t saved_crc32(const saved_header *header, const uint8_t *state)
{
    const size_t from = offsetof(saved_header, plan_crc32);
    const uint32_t crc = mct_crc32(0, (const uint8_t *)header + from, (uint32_t)(sizeof *header - from));

    return mct_crc32(crc, state, header->state_bytes);
}

mct_status mct_save(const mct_model *model, void *buffer, size_t bytes)
{
    if (buffer == NULL || bytes < mct_saved_bytes(model)) {
        return MCT_ERROR_ARGUMENT;
    }
    saved_header header = {
        .magic = SAVED_MAGIC,
        .version = SAVED_VERSION,
        .plan_crc32 = model->plan_crc32,
        .state_bytes = persistent_bytes(model),
        .random = model->io->random,
        .samples = (uint32_t)model->io->samples,
    };

    header.crc32 = saved_crc32(&header, model->trainable);
    memcpy(buffer, &header, sizeof header);
    if (header.state_bytes > 0) {
        memcpy((uint8_t *)buffer + sizeof header, model->trainable, header.state_bytes);
    }
    return MCT_OK;
}

mct_status mct_restore(const mct_model *model, const void *buffer, size_t bytes)
{
    saved_header header;

    if (buffer == NULL) {
        return MCT_ERROR_ARGUMENT;
    }
    if (bytes < mct_saved_bytes(model)) {
        return MCT_ERROR_FORMAT;
    }
    memcpy(&header, buffer, sizeof header);
    const uint8_t *const state = (const uint8_t *)buffer + sizeof header;

    if (header.magic != SAVED_MAGIC || header.version != SAVED_VERSION || header.plan_crc32 != model->plan_crc32 ||
        header.state_bytes != persistent_bytes(model) || header.crc32 != saved_crc32(&header, state) || header.random == 0 ||
        header.samples > model->batch) {
        return MCT_ERROR_FORMAT;
    }
    if (header.state_bytes > 0) {
        memcpy(model->trainable, state, header.state_bytes);
    }
    model->io->random = header.random;
    model->io->samples = (int32_t)header.samples;
    return MCT_OK;
}

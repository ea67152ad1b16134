#include "image.h"

#include <stddef.h>

#include "model/crc32.h"

#define IMAGE_MAGIC 0x4554434du /* "MCTE" */
#define IMAGE_VERSION 3u

/* `count` elements of `element_bytes` at `offset` lie behind the header and inside the image, aligned. 64 bits: the product cannot wrap. */
static int fits(const mct_image_header *header, uint32_t offset, uint32_t count, uint32_t element_bytes, uint32_t alignment)
{
    const uint64_t end = (uint64_t)offset + (uint64_t)count * element_bytes;

    if (count == 0) {
        return 1;
    }
    return offset >= sizeof(*header) && offset % alignment == 0 && end <= header->image_bytes;
}

static int all_below(const uint32_t *values, uint32_t count, uint32_t limit)
{
    for (uint32_t i = 0; i < count; i++) {
        if (values[i] >= limit) {
            return 0;
        }
    }
    return 1;
}

/* An exponent of all ones is an infinity or not a number. The count is of elements that lie inside the image. */
static int all_finite(const uint32_t *bits, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        if ((bits[i] & 0x7f800000u) == 0x7f800000u) {
            return 0;
        }
    }
    return 1;
}

static int header_is_sound(const mct_image_header *header, uint32_t memory_bytes)
{
    return header->magic == IMAGE_MAGIC && header->version == IMAGE_VERSION && header->image_bytes >= sizeof(*header) &&
           header->image_bytes <= memory_bytes && header->image_bytes % 4u == 0 &&
           header->crc32 == mct_crc32(0, (const uint8_t *)header + offsetof(mct_image_header, plan_crc32),
                                      header->image_bytes - (uint32_t)offsetof(mct_image_header, plan_crc32));
}

static int belongs_to_model(const mct_model *model, const mct_image_header *header)
{
    return header->plan_crc32 == model->plan_crc32 && header->sample_bytes == model->input_bytes &&
           header->target_values == model->target_values && header->seed != 0 &&
           (header->flags &
            ~(MCT_IMAGE_EVALUATE_BEFORE | MCT_IMAGE_EVALUATE_AFTER | MCT_IMAGE_PREDICTIONS | MCT_IMAGE_TRACE | MCT_IMAGE_ENDS)) == 0;
}

/* A step needs a sample to draw, a learning rate, and divisors that are not 0. */
static int steps_are_sound(const mct_image_header *header)
{
    return header->steps == 0 ||
           (header->adapt_count > 0 && header->learning_rate_count > 0 && header->steps_per_learning_rate > 0 && header->digest_every > 0);
}

/* Bytes of what one sample is to be. target_values is the model's, far below 2^30. */
static uint32_t target_bytes(const mct_image_header *header)
{
    return header->target_values > 0 ? 4u * header->target_values : 4u;
}

/* Labels of the model's classes, or values that are finite. */
static int targets_are_sound(const mct_model *model, const void *targets, uint32_t count)
{
    return model->target_values > 0 ? all_finite(targets, (uint64_t)count * model->target_values)
                                    : all_below(targets, count, model->classes);
}

mct_status mct_image_open(const mct_model *model, const uint8_t *address, uint32_t memory_bytes, mct_image *image)
{
    const mct_image_header *header = (const mct_image_header *)(const void *)address;

    if ((uintptr_t)address % 4u != 0 || memory_bytes < sizeof(*header) || !header_is_sound(header, memory_bytes) ||
        !belongs_to_model(model, header) || !steps_are_sound(header)) {
        return MCT_ERROR_FORMAT;
    }
    const uint32_t stride = (header->sample_bytes + 3u) & ~3u; /* sample_bytes is the model's, far below 2^32 */
    if (!fits(header, header->adapt_samples, header->adapt_count, stride, 4) ||
        !fits(header, header->adapt_targets, header->adapt_count, target_bytes(header), 4) ||
        !fits(header, header->test_samples, header->test_count, stride, 4) ||
        !fits(header, header->test_targets, header->test_count, target_bytes(header), 4) ||
        !fits(header, header->order, header->steps, 4, 4) || !fits(header, header->learning_rates, header->learning_rate_count, 4, 4)) {
        return MCT_ERROR_FORMAT;
    }
    /* Only the offsets of parts with elements are known to lie inside, so a part without any points at the header. */
    const uint8_t *adapt_samples = address + (header->adapt_count > 0 ? header->adapt_samples : 0);
    const uint8_t *test_samples = address + (header->test_count > 0 ? header->test_samples : 0);
    const void *adapt_targets = address + (header->adapt_count > 0 ? header->adapt_targets : 0);
    const void *test_targets = address + (header->test_count > 0 ? header->test_targets : 0);
    const void *order = address + (header->steps > 0 ? header->order : 0);
    const void *learning_rates = address + (header->learning_rate_count > 0 ? header->learning_rates : 0);
    if (!targets_are_sound(model, adapt_targets, header->adapt_count) || !targets_are_sound(model, test_targets, header->test_count) ||
        !all_below(order, header->steps, header->adapt_count) || !all_finite(learning_rates, header->learning_rate_count)) {
        return MCT_ERROR_FORMAT;
    }
    *image = (mct_image){header, adapt_samples, {adapt_targets}, test_samples, {test_targets}, order, learning_rates, stride};
    return MCT_OK;
}

/* The episode image (docs/protocol.md): where its parts lie, once every bound has been checked. */
#ifndef MCUTRAIN_RUNTIME_IMAGE_H
#define MCUTRAIN_RUNTIME_IMAGE_H

#include <stdint.h>

#include "mcutrain/model.h"

#define MCT_IMAGE_EVALUATE_BEFORE 1u
#define MCT_IMAGE_EVALUATE_AFTER 2u
#define MCT_IMAGE_PREDICTIONS 4u
#define MCT_IMAGE_TRACE 8u
#define MCT_IMAGE_ENDS 16u

/* The 24 words of the header, in their order. */
typedef struct {
    uint32_t magic, version, image_bytes, crc32, plan_crc32, sample_bytes, adapt_count, test_count, steps, seed;
    uint32_t adapt_samples, adapt_targets, test_samples, test_targets, order, learning_rates;
    uint32_t learning_rate_count, steps_per_learning_rate, flags, trace_step, dump_op, digest_every, dump_visit, target_values;
} mct_image_header;

_Static_assert(sizeof(mct_image_header) == 96, "the header has 24 words");

/* What a sample is to be: a label, or target_values values. Their bits are as wide, and so one array holds either. */
typedef union {
    const uint32_t *labels;
    const float *values;
} mct_image_targets;

typedef struct {
    const mct_image_header *header;
    const uint8_t *adapt_samples;
    mct_image_targets adapt_targets;
    const uint8_t *test_samples;
    mct_image_targets test_targets;
    const uint32_t *order;
    const float *learning_rates;
    uint32_t sample_stride;
} mct_image;

/* Check the image at `address`, which lies in a memory of `memory_bytes`, against the model. MCT_ERROR_FORMAT on anything wrong: `image` is
 * then unchanged, and nothing outside the memory has been read. */
MCT_MUST_CHECK mct_status mct_image_open(const mct_model *model, const uint8_t *address, uint32_t memory_bytes, mct_image *image);

#endif

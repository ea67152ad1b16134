/* The runtime's parts against published values. Exits with the number of the check that failed, 0 if none did. */
#include <string.h>

#include "mcutrain/model.h"
#include "model/crc32.h"
#include "runtime/image.h"
#include "kernels/common/random.h"

static mct_status nothing(void)
{
    return MCT_OK;
}

static mct_model_io io;
const mct_model episode_model = {
    .name = "small", .plan_crc32 = 7, .input_bytes = 5, .classes = 2, .batch = 1, .io = &io, .infer = nothing, .sample = nothing};

/* One sample of 5 bytes (stride 8), its label 1, and one step with one learning rate. */
typedef struct {
    mct_image_header header;
    uint8_t sample[8];
    uint32_t label, order;
    float learning_rate;
} small_image;

static void seal(small_image *image)
{
    image->header.crc32 = mct_crc32(0, &image->header.plan_crc32, (uint32_t)(sizeof(*image) - 16u));
}

static small_image valid_image(void)
{
    small_image image;

    memset(&image, 0, sizeof(image));
    image.header = (mct_image_header){.magic = 0x4554434du,
                                      .version = 3,
                                      .image_bytes = sizeof(image),
                                      .plan_crc32 = 7,
                                      .sample_bytes = 5,
                                      .adapt_count = 1,
                                      .steps = 1,
                                      .seed = 1,
                                      .adapt_samples = 96,
                                      .adapt_targets = 104,
                                      .order = 108,
                                      .learning_rates = 112,
                                      .learning_rate_count = 1,
                                      .steps_per_learning_rate = 1,
                                      .dump_op = 0xffffffffu,
                                      .digest_every = 1};
    image.label = 1;
    image.learning_rate = 0.5f;
    return image;
}

static mct_status open_image(small_image *image, uint32_t memory_bytes)
{
    mct_image opened;

    seal(image);
    return mct_image_open(&episode_model, (const uint8_t *)image, memory_bytes, &opened);
}

int main(void)
{
    uint32_t random = 1;
    small_image image = valid_image();

    if (mct_crc32(0, "123456789", 9) != 0xcbf43926u) { /* the check value of CRC-32/ISO-HDLC */
        return 1;
    }
    if (mct_crc32(mct_crc32(0, "1234", 4), "56789", 5) != 0xcbf43926u) {
        return 2;
    }
    if (mct_random_next(&random) != 270369u || mct_random_next(&random) != 67634689u) { /* Marsaglia's generator from 1 */
        return 3;
    }
    if (open_image(&image, sizeof(image)) != MCT_OK) {
        return 4;
    }
    if (open_image(&image, sizeof(image) - 4u) != MCT_ERROR_FORMAT) {
        return 5;
    }
    image.order = 1; /* there is one sample, 0 */
    if (open_image(&image, sizeof(image)) != MCT_ERROR_FORMAT) {
        return 6;
    }
    image = valid_image();
    image.header.adapt_samples = 112; /* one byte of the sample lies behind the end */
    if (open_image(&image, sizeof(image)) != MCT_ERROR_FORMAT) {
        return 7;
    }
    image = valid_image();
    image.header.steps = 0x80000000u; /* 2 * steps wraps to 0 in 32 bits */
    if (open_image(&image, sizeof(image)) != MCT_ERROR_FORMAT) {
        return 8;
    }
    image = valid_image();
    image.label = 2;
    return open_image(&image, sizeof(image)) == MCT_ERROR_FORMAT ? 0 : 9;
}

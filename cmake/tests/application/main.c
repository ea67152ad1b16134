/* A model of one kernel, written by hand: the installed headers and library are all that it needs. Exits with the number of the check that
 * failed, 0 if none did. */
#include <string.h>

#include "mcutrain/forward.h"
#include "mcutrain/model.h"

static const uint8_t initial[4] = {1, 2, 3, 4};
static uint8_t state[4];
static int8_t input[4], largest;
static mct_model_io io;

static mct_status infer(void)
{
    static const mct_pool_s8_params params = {{.in_height = 2,
                                               .in_width = 2,
                                               .in_channels = 1,
                                               .out_height = 1,
                                               .out_width = 1,
                                               .out_channels = 1,
                                               .kernel_height = 2,
                                               .kernel_width = 2,
                                               .stride_height = 2,
                                               .stride_width = 2}};

    return mct_max_pool_s8(&params, input, &largest, NULL);
}

static const mct_model model = {.name = "largest",
                                .plan_crc32 = 7,
                                .input_bytes = sizeof input,
                                .classes = 1,
                                .batch = 1,
                                .trainable_bytes = sizeof state,
                                .output_bytes = 1,
                                .io = &io,
                                .input = input,
                                .trainable = state,
                                .initial = initial,
                                .output = &largest,
                                .infer = infer};

int main(void)
{
    static const int8_t sample[4] = {-5, 3, 9, -128};
    uint8_t saved[32];

    mct_reset(&model);
    if (mct_infer(&model, sample) != MCT_OK || *mct_output(&model) != 9) {
        return 1;
    }
    if (mct_train(&model, sample, 0) != MCT_ERROR_ARGUMENT) {
        return 2;
    }
    const uint32_t digest = mct_digest(&model);

    if (mct_saved_bytes(&model) != sizeof saved || mct_save(&model, saved, sizeof saved) != MCT_OK) {
        return 3;
    }
    memset(state, 0, sizeof state);
    return mct_restore(&model, saved, sizeof saved) == MCT_OK && mct_digest(&model) == digest ? 0 : 4;
}

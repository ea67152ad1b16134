/* The smallest model, for firmware that does one odd thing: a test's model.c includes this and defines misbehave(), which every inference
 * calls. It has an arena, so that data + bss has a known sum. */
#include "mcutrain/model.h"

int32_t mct_model_arena[8];
mct_model_state mct_model_io;

const mct_model_info mct_model = {
    .plan_crc32 = 0x1234abcdu,
    .input_bytes = 4,
    .classes = 3,
    .op_count = 1,
    .inference_op_count = 1,
    .arena_bytes = sizeof(mct_model_arena),
};

void mct_model_reset(void)
{
}

static void misbehave(void);

mct_status mct_model_infer(void)
{
    misbehave();
    mct_model_arena[1] = 0;
    mct_model_io.prediction = 0;
    return MCT_OK;
}

mct_status mct_model_train(void)
{
    return MCT_ERROR_ARGUMENT;
}

/* Through a volatile pointer, so that the compiler cannot know the address. */
static inline volatile uint32_t *word_at(uint32_t address)
{
    volatile uint32_t *volatile pointer = (volatile uint32_t *)(uintptr_t)address;

    return pointer;
}

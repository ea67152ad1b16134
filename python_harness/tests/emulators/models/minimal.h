/* The smallest model, for firmware that does one odd thing: a test's model.c includes this and defines misbehave(), which every inference
 * calls. It has an arena, so that data + bss has a known sum. */
#include "mcutrain/episode.h"

/* A test that writes its inference itself names it here. */
#ifndef MINIMAL_INFER
#define MINIMAL_INFER infer
#endif

int32_t mct_model_arena[8];
static mct_model_io io;

static void misbehave(void);

mct_status infer(void);

mct_status infer(void)
{
    misbehave();
    mct_model_arena[1] = 0;
    io.prediction = 0;
    return MCT_OK;
}

const mct_model episode_model = {
    .name = "minimal",
    .plan_crc32 = 0x1234abcdu,
    .input_bytes = 4,
    .classes = 3,
    .batch = 1,
    .arena_bytes = sizeof(mct_model_arena),
    .io = &io,
    .infer = MINIMAL_INFER,
};

/* Through a volatile pointer, so that the compiler cannot know the address. */
static inline volatile uint32_t *word_at(uint32_t address)
{
    volatile uint32_t *volatile pointer = (volatile uint32_t *)(uintptr_t)address;

    return pointer;
}

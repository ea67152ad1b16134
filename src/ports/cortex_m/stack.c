/* The stack's high-water mark: the reserve is painted before main runs, and what lost its paint was used. */
#include "board.h"
#include "mcutrain/episode.h"

#define PAINT 0x5AA5C33Cu

__attribute__((noinline)) void mct_stack_paint(void)
{
    /* The frame of this function and below it a little for the compiler's own use must stay. */
    uint32_t *const end = (uint32_t *)__builtin_frame_address(0) - 8;

    /* volatile: the loop must not become a call, whose frame it would paint over. */
    for (volatile uint32_t *word = mct_stack_base; word < end; word++) {
        *word = PAINT;
    }
}

uint32_t mct_port_stack_peak_bytes(void)
{
    const volatile uint32_t *word = mct_stack_base;

    while (word < mct_stack_top && *word == PAINT) {
        word++;
    }
    return (uint32_t)((uintptr_t)mct_stack_top - (uintptr_t)word);
}

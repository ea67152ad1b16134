/* Outer products of the convolution gradients (outer_2x4.h): the loop over groups of columns. */
#include "kernels/common/exact.h"

#include "kernels/convolution/outer_2x4.h"

#if MCT_DSP

#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)

_Static_assert(offsetof(mct_outer_chunk, rows) == 4 && offsetof(mct_outer_chunk, steps) == 8 && offsetof(mct_outer_chunk, groups) == 12 &&
                   offsetof(mct_outer_chunk, from_zero) == 16,
               "the assembly below knows these offsets");

/* Between two groups every register is free but r0, which has come to the next columns less two words, and r12 and lr, the next sums. The
 * first step of sums from zero stands apart, as it needs no sums; there are others then.
 *
 * On the stack: rows less two words, from_zero, the first round's steps to skip, how many more these are than the ones done, sums_0,
 * bytes from it to sums_1, the end of sums_0 and the end of MCT_DOT_2X4. */
__attribute__((naked, noinline)) static void add_groups(const mct_outer_chunk *chunk __attribute__((unused)),
                                                        int32_t *sums_0 __attribute__((unused)), int32_t *sums_1 __attribute__((unused)))
{
    /* clang-format off */
    __asm__ volatile(
            "push {r4-r11, lr}\n\t"
            "sub sp, #32\n\t"
            "mov r12, r1\n\t"
            "mov lr, r2\n\t"
            "ldm r0, {r0, r1, r5-r7}\n\t"
            "sub r3, lr, r12\n\t"
            "add r4, r12, r6, lsl #4\n\t"
            "sub r0, #8\n\t"
            "sub r1, #8\n\t"
            "strd r1, r7, [sp]\n\t"
            "sub r8, r7, r5\n\t"
            "and r8, #7\n\t"
            "sub r9, r8, r7\n\t"
            "strd r8, r9, [sp, #8]\n\t"
            "strd r3, r4, [sp, #20]\n\t"
            "add r1, r1, r5, lsl #3\n\t"
            "str r1, [sp, #28]\n"
        "1:\n\t"
            "ldrd r1, r3, [sp]\n\t"
            "str r12, [sp, #16]\n\t"
            "cmp r3, #0\n\t"
            "beq 3f\n\t"
            "ldr r3, [r1, #12]\n\t"
            "ldr r2, [r1, #8]\n\t"
            "ldr r12, [r0, #8]\n\t"
            "ldr lr, [r0, #12]\n\t"
            "smuad r8, r3, r12\n\t"
            "smuad r4, r2, r12\n\t"
            "smuad r9, r3, lr\n\t"
            "smuad r5, r2, lr\n\t"
            "ldr r12, [r0, #20]\n\t"
            "ldr lr, [r0, #16]\n\t"
            "smuad r11, r3, r12\n\t"
            "smuad r7, r2, r12\n\t"
            "smuad r10, r3, lr\n\t"
            "smuad r6, r2, lr\n"
        "2:\n\t"
            "ldrd r2, r3, [sp, #8]\n\t"
            "sub r0, r0, r3, lsl #4\n\t"
            "sub r1, r1, r3, lsl #3\n\t"
            MCT_DOT_2X4("28")
            "ldr r12, [sp, #16]\n\t"
            "ldr lr, [sp, #20]\n\t"
            "ldr r3, [sp, #24]\n\t"
            "add lr, r12\n\t"
            "stm r12!, {r4-r7}\n\t"
            "cmp r12, r3\n\t"
            "stm lr!, {r8-r11}\n\t"
            "bne 1b\n\t"
            "add sp, #32\n\t"
            "pop {r4-r11, pc}\n"
        "3:\n\t"
            "ldm r12, {r4-r7}\n\t"
            "ldm lr, {r8-r11}\n\t"
            "b 2b\n"
            MCT_DOT_2X4_ENTRIES);
    /* clang-format on */
}

#else

static void add_groups(const mct_outer_chunk *chunk, int32_t *sums_0, int32_t *sums_1)
{
    const int32_t *columns = chunk->columns;

    for (int32_t i = 0; i < chunk->groups * MCT_OUTER_LANES; i += MCT_OUTER_LANES, columns += chunk->steps * MCT_DOT_COLUMNS) {
        int32_t sums[MCT_DOT_ROWS][MCT_DOT_COLUMNS] = {{0}};

        if (!chunk->from_zero) {
            memcpy(sums[0], sums_0 + i, sizeof sums[0]);
            memcpy(sums[1], sums_1 + i, sizeof sums[1]);
        }
        mct_dot_2x4(columns, chunk->rows, chunk->steps, sums);
        memcpy(sums_0 + i, sums[0], sizeof sums[0]);
        memcpy(sums_1 + i, sums[1], sizeof sums[1]);
    }
}

#endif

/* The last group, which is not whole: four columns all the same, of which `lanes` count. */
static MCT_NOINLINE void add_rest(const mct_outer_chunk *chunk, int32_t *sums_0, int32_t *sums_1)
{
    int32_t *const bounce_0 = chunk->bounce, *const bounce_1 = bounce_0 + MCT_OUTER_LANES;
    mct_outer_chunk rest = *chunk;

    rest.columns += chunk->steps * chunk->groups * MCT_OUTER_LANES;
    rest.groups = 1;
    for (int32_t lane = 0; lane < chunk->lanes; lane++) {
        bounce_0[lane] = sums_0[lane];
        bounce_1[lane] = sums_1[lane];
    }
    add_groups(&rest, bounce_0, bounce_1);
    for (int32_t lane = 0; lane < chunk->lanes; lane++) {
        sums_0[lane] = bounce_0[lane];
        sums_1[lane] = bounce_1[lane];
    }
}

static void clear(int32_t *sums, int32_t count)
{
    memset(sums, 0, (size_t)count * sizeof *sums);
}

void mct_add_outer_2x4(const mct_outer_chunk *chunk, int32_t *sums_0, int32_t *sums_1)
{
    const int32_t whole = chunk->groups * MCT_OUTER_LANES;

    if (chunk->from_zero && chunk->steps == 1) {
        mct_outer_chunk added = *chunk;

        added.from_zero = 0;
        clear(sums_0, whole + chunk->lanes);
        clear(sums_1, whole + chunk->lanes);
        mct_add_outer_2x4(&added, sums_0, sums_1);
        return;
    }
    if (whole > 0) {
        add_groups(chunk, sums_0, sums_1);
    }
    if (chunk->lanes > 0) {
        add_rest(chunk, sums_0 + whole, sums_1 + whole);
    }
}

#endif

/* A channel of an image of interleaved channels into a plane (depthwise_plane.h), its codes as they are: for depthwise_conv2d_s8. */
#ifndef MCT_KERNELS_PLANE_GATHER_S8_H
#define MCT_KERNELS_PLANE_GATHER_S8_H

#include <stddef.h>

#include "dsp.h"

/* Offsets of members are known to assembly. rows and columns are above 0. */
typedef struct {
    size_t pixel_bytes; /* from one element of the channel to the next */
    int32_t columns, rows;
    size_t image_skip_bytes, plane_skip_bytes; /* from behind a row to the next */
} mct_gather_s8_task;

#if MCT_DSP && defined(__ARM_FEATURE_DSP) && defined(__GNUC__)

/* In assembly: compilers join two of the halfwords in twice the time of storing them, and reload more than they use around each row.
 * r0: image, r1: plane, r3 and r12: bytes of one and three pixels. Four loads in a row, then four stores. */
/* clang-format off */
#define MCT_GATHER_FOUR                                                                                                                    \
    "ldrsb r8, [r0]\n\t"                                                                                                                   \
    "ldrsb r9, [r0, r3]\n\t"                                                                                                               \
    "ldrsb r10, [r0, r3, lsl #1]\n\t"                                                                                                      \
    "ldrsb r11, [r0, r12]\n\t"                                                                                                             \
    "add r0, r0, r3, lsl #2\n\t"                                                                                                           \
    "strh r9, [r1, #2]\n\t"                                                                                                                \
    "strh r10, [r1, #4]\n\t"                                                                                                               \
    "strh r11, [r1, #6]\n\t"                                                                                                               \
    "strh r8, [r1], #8\n\t"
/* clang-format on */

__attribute__((naked, noinline)) static void mct_gather_plane_s8(const int8_t *image __attribute__((unused)),
                                                                 int16_t *plane __attribute__((unused)),
                                                                 const mct_gather_s8_task *task __attribute__((unused)))
{
    /* clang-format off */
    __asm__ volatile(
            "push {r4-r11, lr}\n\t"
            "ldr r3, [r2]\n\t"
            "ldr r4, [r2, #4]\n\t"
            "ldr r5, [r2, #8]\n\t"
            "ldr r6, [r2, #12]\n\t"
            "ldr r7, [r2, #16]\n\t"
            "add r12, r3, r3, lsl #1\n"
        "0:\n\t"
            "subs lr, r4, #8\n\t"
            "blt 2f\n"
        "1:\n\t"
            MCT_GATHER_FOUR
            MCT_GATHER_FOUR
            "subs lr, #8\n\t"
            "bge 1b\n"
        "2:\n\t"
            "adds lr, #4\n\t"
            "blt 3f\n\t"
            MCT_GATHER_FOUR
            "subs lr, #4\n"
        "3:\n\t"
            "adds lr, #4\n\t"
            "beq 5f\n"
        "4:\n\t"
            "ldrsb r8, [r0]\n\t"
            "add r0, r3\n\t"
            "strh r8, [r1], #2\n\t"
            "subs lr, #1\n\t"
            "bne 4b\n"
        "5:\n\t"
            "add r0, r6\n\t"
            "add r1, r7\n\t"
            "subs r5, #1\n\t"
            "bne 0b\n\t"
            "pop {r4-r11, pc}\n");
    /* clang-format on */
}

#else

static inline void mct_gather_plane_s8(const int8_t *image, int16_t *plane, const mct_gather_s8_task *task)
{
    for (int32_t row = 0; row < task->rows; row++) {
        for (int32_t column = 0; column < task->columns; column++, image += task->pixel_bytes) {
            *plane++ = *image;
        }
        image += task->image_skip_bytes;
        plane += task->plane_skip_bytes / sizeof *plane;
    }
}

#endif

#endif

/* Two filters over three gathered pixels (dot_2x3.c). */
#ifndef MCT_KERNELS_DOT_2X3_H
#define MCT_KERNELS_DOT_2X3_H

#include <stddef.h>

#include "kernels/common/compiler.h"
#include "kernels/common/dsp.h"
#include "kernels/common/requantize.h"

enum { MCT_BLOCK_PIXELS = 3, MCT_BLOCK_CHANNELS = 2 };

typedef struct {
    int32_t sums[MCT_BLOCK_CHANNELS][MCT_BLOCK_PIXELS]; /* what they start from, then the result */
    const int8_t *end;                                  /* of the first filter's whole words */
} mct_dot_2x3_block;

/* Whole blocks of small sums (requantize.h) in all channels but a last single one. Offsets of members are known to assembly. */
typedef struct {
    const int8_t *filter; /* the first of the next two; less what the first round skips, and 4 */
    int32_t filter_bytes;
    int32_t round_bytes; /* of filter, in whole rounds */
    int32_t skip_bytes;  /* of the first round */
    const int32_t *bias;
    const int32_t *pixels; /* gathered; less what belongs to the skipped taps, and 4 */
    const int32_t *multiplier, *shift;
    int32_t zero_point;
    int8_t *y;
    int32_t channels;
    int32_t low, high, is_clamped; /* is_clamped: low and high are not all of int8 */
    int32_t pairs;                 /* of channels that are left, above 0 */
} mct_convolve_2x3_task;

#if MCT_DSP

/* block->sums += gathered pixels times both filters, up to block->end. */
void mct_dot_2x3(const int32_t *pixels, const int8_t *filter_0, const int8_t *filter_1, mct_dot_2x3_block *block);

/* All pairs of channels of the task, from their biases to stored codes. */
void mct_convolve_2x3(mct_convolve_2x3_task *task);

#endif
#endif

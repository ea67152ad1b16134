/* The DSP form of both convolution gradients: sums[row][column] += row . column, for two rows and any number of columns at once, over operands
 * that are packed to int16 pairs in scratch memory. A pair (a step) is of two neighbours along the axis that is summed: two output channels
 * for dX, two pixels for dW; a last single one has zeros in the high half of its columns.
 *
 * Columns are input channels, in groups of four: for each group and step the words of its four columns. What the columns take is bounded,
 * so both kernels work chunk by chunk, and pack as many groups at a time as there is room for. Rows are packed for each call. */
#ifndef MCT_KERNELS_OUTER_2X4_H
#define MCT_KERNELS_OUTER_2X4_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "kernels/convolution/dot_2x4.h"

enum {
    MCT_OUTER_LANES = 4,        /* columns of a group */
    MCT_OUTER_PAIR_GROUPS = 320 /* room for columns: steps times groups, of 16 bytes each */
};

/* The most that a chunk has. */
typedef struct {
    int32_t steps, groups;
} mct_outer_shape;

/* Parts of at most `most`, at least one. */
static inline int32_t mct_outer_parts(int32_t whole, int32_t most)
{
    return whole > most ? (whole + most - 1) / most : 1;
}

/* Chunks of about the same size: `terms` products for each sum, in chunks of at most most_steps pairs (no more than there is room for). */
static inline mct_outer_shape mct_outer_shape_of(int32_t terms, int32_t channels, int32_t most_steps)
{
    const int32_t pairs = mct_outer_parts(terms, 2), all_groups = mct_outer_parts(channels, MCT_OUTER_LANES);
    const int32_t steps = mct_outer_parts(pairs, mct_outer_parts(pairs, most_steps));
    const int32_t chunks = mct_outer_parts(all_groups, MCT_OUTER_PAIR_GROUPS / steps);

    return (mct_outer_shape){steps, mct_outer_parts(all_groups, chunks)};
}

/* Scratch of a chunk: columns, rows, and eight sums of a group that is not whole. */
static inline size_t mct_outer_scratch_bytes(mct_outer_shape most)
{
    const int32_t words = most.steps * (most.groups * MCT_OUTER_LANES + MCT_DOT_ROWS) + MCT_DOT_ROWS * MCT_OUTER_LANES;

    return (size_t)words * sizeof(int32_t);
}

#if MCT_DSP

/* A chunk: `groups` whole groups, and behind them one of `lanes` columns if lanes > 0. */
typedef struct {
    int32_t *columns, *rows; /* [group][step][4], [step][2] */
    int32_t steps, groups;
    int32_t from_zero; /* 1: sums are stored, 0: added to what is there */
    int32_t lanes;
    int32_t *bounce; /* eight sums */
} mct_outer_chunk;

static inline mct_outer_chunk mct_outer_chunk_in(int32_t *scratch, mct_outer_shape most)
{
    mct_outer_chunk chunk = {.columns = scratch, .rows = scratch + most.steps * most.groups * MCT_OUTER_LANES};

    chunk.bounce = chunk.rows + most.steps * MCT_DOT_ROWS;
    return chunk;
}

/* The sums of both rows, for as many columns as the chunk has. Equal rows may share their sums. */
void mct_add_outer_2x4(const mct_outer_chunk *chunk, int32_t *sums_0, int32_t *sums_1);

/* A pointer takes its new value here: compilers would otherwise keep a pointer for each use of it, and spill some. */
#if defined(__GNUC__)
#define MCT_STEP_NOW(pointer) __asm__("" : "+r"(pointer))
#else
#define MCT_STEP_NOW(pointer) ((void)0)
#endif

/* The next four int8, or as many as are left, the others 0. */
static inline int32_t mct_load_lanes_s8(const int8_t *next, int32_t left)
{
    return left >= MCT_OUTER_LANES ? mct_load_word(next) : mct_load_tail_s8(next, left);
}

/* Columns as int16 pairs from four int8 of either neighbour. */
static inline void mct_pair_columns(int32_t low, int32_t high, int32_t columns[MCT_OUTER_LANES])
{
    const int32_t first = mct_pkhbt(low, high), last = mct_pkhtb(high, low); /* of either neighbour two int8 */

    columns[0] = mct_sxtb16(first);
    columns[1] = mct_sxtb16_ror8(first);
    columns[2] = mct_sxtb16(last);
    columns[3] = mct_sxtb16_ror8(last);
}

#endif
#endif

/* error_normalize: int32 sums to int16 mantissas of one exponent, also in place. */
#include "kernels/common/exact.h"

#include "mcutrain/backward.h"
#include "kernels/common/block_float.h"
#include "kernels/common/pairs.h"

/* Sums of which every two keep their place: a step writes the mantissas of the sums that it has read, four or one. */
typedef struct {
    const mct_overwritten_s32 *sum;
    mct_overwriting_s16 *mantissa;
    uint32_t r;
} rounding;

static inline void round_one(const rounding *to, int32_t i)
{
    to->mantissa[i] = (int16_t)mct_halfaway(to->sum[i], to->r);
}

#if MCT_DSP

/* r > 0, sums within mct_halfaway_within's bound. */
static inline void round_four(const rounding *to, int32_t i, int32_t half)
{
    const int32_t v0 = to->sum[i], v1 = to->sum[i + 1], v2 = to->sum[i + 2], v3 = to->sum[i + 3];
    const int32_t m0 = mct_halfaway_within(v0, half, to->r), m1 = mct_halfaway_within(v1, half, to->r);
    const int32_t m2 = mct_halfaway_within(v2, half, to->r), m3 = mct_halfaway_within(v3, half, to->r);

    mct_store_word(&to->mantissa[i], mct_pkhbt(m0, m1));
    mct_store_word(&to->mantissa[i + 2], mct_pkhbt(m2, m3));
}

/* The fours of elements that the short rounding may take. */
static inline int32_t fours(uint32_t largest, uint32_t r, int32_t elements)
{
    return r > 0 && largest < 1u << 30 ? elements / 4 : 0;
}

#else

static inline void round_four(const rounding *to, int32_t i, int32_t half)
{
    (void)to;
    (void)i;
    (void)half;
}

static inline int32_t fours(uint32_t largest, uint32_t r, int32_t elements)
{
    (void)largest;
    (void)r;
    (void)elements;
    return 0;
}

#endif

mct_status mct_error_normalize_b16(const mct_elements_params *params, const mct_b32 *sums, mct_b16 *out)
{
    if (params == NULL || sums == NULL || out == NULL || params->elements <= 0) {
        return MCT_ERROR_ARGUMENT;
    }
    const int32_t elements = params->elements, exponent = sums->exponent;
    const uint32_t largest = mct_largest_magnitude_s32(sums->mantissa, (size_t)elements), r = mct_fit(largest, 15);
    const int32_t in_fours = 4 * fours(largest, r, elements), half = (int32_t)((1u << r) >> 1);
    const rounding to = {sums->mantissa, out->mantissa, r};

    /* With out d bytes behind sums, mantissa i is written to bytes [d + 4 + 2i, d + 6 + 2i), and sum j read from [4 + 4j, 8 + 4j).
     * d = 0, ascending: the sums still to be read, j > i, begin at 8 + 4i >= 6 + 2i or later.
     * d > 0, descending: those still to be read, j < i, end at 4 + 4i or before; d + 4 + 2i is no less where d >= 2i, so for every i
     * where d >= 2(elements - 1). When both end together with sizes rounded up to 8 bytes, d = 2n, 2(n - 1), 2n + 4 and 2(n - 3) for
     * n % 4 = 0, 1, 2 and 3: all but the last will do.
     * Four elements at a time are read before they are written, and the same holds of the first and the last of them. */
    if ((uintptr_t)out > (uintptr_t)sums) {
        for (int32_t i = elements - 1; i >= in_fours; i--) {
            round_one(&to, i);
        }
        for (int32_t i = in_fours - 4; i >= 0; i -= 4) {
            round_four(&to, i, half);
        }
    } else {
        for (int32_t i = 0; i < in_fours; i += 4) {
            round_four(&to, i, half);
        }
        for (int32_t i = in_fours; i < elements; i++) {
            round_one(&to, i);
        }
    }
    out->exponent = exponent + (int32_t)r; /* last: it may lie over sums */
    return MCT_OK;
}

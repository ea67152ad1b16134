#include "block_float.h"
#include "mcutrain/backward.h"

/* In place the int16 mantissas are written over int32 sums: a compiler that trusts types must not move a read behind such a write. */
#if defined(__GNUC__)
typedef int32_t mct_overwritten_s32 __attribute__((may_alias));
#else
typedef int32_t mct_overwritten_s32;
#endif

mct_status mct_error_normalize_b16(const mct_elements_params *params, const mct_b32 *sums, mct_b16 *out)
{
    if (params == NULL || sums == NULL || out == NULL || params->elements <= 0) {
        return MCT_ERROR_ARGUMENT;
    }
    const int32_t elements = params->elements;
    const mct_overwritten_s32 *sum = sums->mantissa;
    const int32_t exponent = sums->exponent;
    uint32_t largest = 0;

    for (int32_t i = 0; i < elements; i++) {
        const uint32_t magnitude = mct_magnitude_s32(sum[i]);
        largest = magnitude > largest ? magnitude : largest;
    }
    const uint32_t r = mct_fit(largest, 15);

    /* With out d bytes behind sums, mantissa i is written to bytes [d + 4 + 2i, d + 6 + 2i), and sum j read from [4 + 4j, 8 + 4j).
     * d = 0, ascending: the sums still to be read, j > i, begin at 8 + 4i >= 6 + 2i or later.
     * d > 0, descending: those still to be read, j < i, end at 4 + 4i or before; d + 4 + 2i is no less where d >= 2i, so for every i
     * where d >= 2(elements - 1). When both end together with sizes rounded up to 8 bytes, d = 2n, 2(n - 1), 2n + 4 and 2(n - 3) for
     * n % 4 = 0, 1, 2 and 3: all but the last will do. */
    if ((uintptr_t)out > (uintptr_t)sums) {
        for (int32_t i = elements - 1; i >= 0; i--) {
            out->mantissa[i] = (int16_t)mct_halfaway(sum[i], r);
        }
    } else {
        for (int32_t i = 0; i < elements; i++) {
            out->mantissa[i] = (int16_t)mct_halfaway(sum[i], r);
        }
    }
    out->exponent = exponent + (int32_t)r; /* last: it may lie over sums */
    return MCT_OK;
}

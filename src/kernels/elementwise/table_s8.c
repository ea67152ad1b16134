/* table: a function of one number, looked up by code. */
#include "kernels/common/exact.h"

#include <string.h>

#include "mcutrain/forward.h"

enum { CODES_IN_A_WORD = 4 };

/* The codes of a word, looked up. zero: the element of code 0. */
static inline uint32_t looked_up(uint32_t codes, const int8_t *zero)
{
    const uint32_t y0 = (uint8_t)zero[(int8_t)codes], y1 = (uint8_t)zero[(int8_t)(codes >> 8)];
    const uint32_t y2 = (uint8_t)zero[(int8_t)(codes >> 16)], y3 = (uint8_t)zero[(int8_t)(codes >> 24)];

    return y0 | y1 << 8 | y2 << 16 | y3 << 24;
}

mct_status mct_table_s8(const mct_table_s8_params *params, const int8_t *x, const int8_t *table, int8_t *y)
{
    if (params == NULL || x == NULL || table == NULL || y == NULL || params->elements <= 0) {
        return MCT_ERROR_ARGUMENT;
    }
    const int8_t *const zero = table + 128, *const end = x + params->elements;

    for (; end - x >= 2 * CODES_IN_A_WORD; x += 2 * CODES_IN_A_WORD, y += 2 * CODES_IN_A_WORD) {
        uint32_t words[2];

        memcpy(words, x, sizeof words);
        words[0] = looked_up(words[0], zero);
        words[1] = looked_up(words[1], zero);
        memcpy(y, words, sizeof words);
    }
    for (; x != end; x++) {
        *y++ = zero[*x];
    }
    return MCT_OK;
}

#include "protocol.h"

#include "mcutrain/episode.h"
#include "model/crc32.h"
#include "state.h"

static void put(char c)
{
    mct_runtime.line_crc = mct_crc32(mct_runtime.line_crc, &c, 1);
    mct_port_put(c);
}

static void put_text(const char *text)
{
    while (*text != '\0') {
        put(*text++);
    }
}

static char hex_digit(uint32_t nibble)
{
    return "0123456789abcdef"[nibble & 15u];
}

static void put_key(const char *key)
{
    put(' ');
    put_text(key);
    put('=');
}

void mct_line_begin(const char *kind)
{
    /* A fault can interrupt a line: its own line then starts on a fresh one, and the broken one fails by its CRC. */
    if (mct_runtime.line_open != 0) {
        mct_port_put('\n');
    }
    mct_runtime.line_open = 1;
    mct_runtime.line_crc = 0;
    put('@');
    put_text(kind);
}

void mct_line_text(const char *key, const char *value)
{
    put_key(key);
    put_text(value);
}

void mct_line_decimal(const char *key, uint32_t value)
{
    char digits[10]; /* check: 10^9 < 2^32 - 1 < 10^10 */
    uint32_t count = 0;

    do {
        digits[count++] = (char)('0' + value % 10u);
        value /= 10u;
    } while (value != 0);
    put_key(key);
    while (count > 0) {
        put(digits[--count]);
    }
}

void mct_line_hex(const char *key, uint32_t value)
{
    put_key(key);
    for (int shift = 28; shift >= 0; shift -= 4) {
        put(hex_digit(value >> shift));
    }
}

void mct_line_bytes(const char *key, const uint8_t *value, uint32_t bytes)
{
    put_key(key);
    for (uint32_t i = 0; i < bytes; i++) {
        put(hex_digit((uint32_t)value[i] >> 4));
        put(hex_digit(value[i]));
    }
}

void mct_line_end(void)
{
    const uint32_t crc = mct_runtime.line_crc;

    mct_port_put(' ');
    mct_port_put('*');
    for (int shift = 28; shift >= 0; shift -= 4) {
        mct_port_put(hex_digit(crc >> shift));
    }
    mct_port_put('\n');
    mct_runtime.line_open = 0;
    mct_runtime.lines++;
}

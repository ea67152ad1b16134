/* Lines of docs/protocol.md, sent character by character: nothing is buffered, so a line costs no SRAM. */
#ifndef MCUTRAIN_RUNTIME_PROTOCOL_H
#define MCUTRAIN_RUNTIME_PROTOCOL_H

#include <stdint.h>

void mct_line_begin(const char *kind);
void mct_line_text(const char *key, const char *value);
void mct_line_decimal(const char *key, uint32_t value);
void mct_line_hex(const char *key, uint32_t value);                         /* eight digits */
void mct_line_bytes(const char *key, const uint8_t *value, uint32_t bytes); /* two digits a byte, as they lie in memory */
void mct_line_end(void);                                                    /* sends the CRC and counts the line */

#endif

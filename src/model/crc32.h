/* CRC-32 of IEEE 802.3 (reflected polynomial 0xEDB88320, as zlib's): of lines, images, and of the trainable state after each step. */
#ifndef MCUTRAIN_RUNTIME_CRC32_H
#define MCUTRAIN_RUNTIME_CRC32_H

#include <stdint.h>

/* Continue `crc` (0 to begin) over `bytes` bytes of `data`. */
uint32_t mct_crc32(uint32_t crc, const void *data, uint32_t bytes);

#endif

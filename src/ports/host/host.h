/* The host build of the library and one generated model, as a shared object: the same episodes at the speed of the host. */
#ifndef MCUTRAIN_PORTS_HOST_H
#define MCUTRAIN_PORTS_HOST_H

#include <stdint.h>

/* Receives one line, with its '\n'. */
typedef void (*mct_host_put)(const char *line, uint32_t bytes);

/* Run the episode image of `bytes` bytes, 4-aligned, and give every line to `put`. Returns what `end` printed. One run at a time. */
int32_t mct_host_run(const uint8_t *image, uint32_t bytes, mct_host_put put);

#endif

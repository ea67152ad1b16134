/* The host build of the library and one generated model, as a shared object: the same episodes at the speed of the host. */
#ifndef MCUTRAIN_PORTS_HOST_H
#define MCUTRAIN_PORTS_HOST_H

#include <stdint.h>

/* Receives one line, with its '\n'. */
typedef void (*mct_host_put)(const char *line, uint32_t bytes);

/* What the updates of one tensor have done since the run began. zero: how many had no gradient at all; the rest is of the others. Ratios
 * are what steps were multiplied by, below 1 where they were capped. */
typedef struct {
    uint32_t updates, zero, capped;
    float smallest_ratio, largest_ratio;
    float largest_step; /* before the cap, in what the cap is in: codes of the weights, of biases codes of the layer's output */
} mct_host_updates;

/* Each tensor of the trainable state begins at a multiple of so many bytes: the entry of the one at `offset` is offset / MCT_HOST_ALIGNMENT. */
#define MCT_HOST_ALIGNMENT 8u

/* Bytes of the trainable state as the run has left it, and how many they are. */
const uint8_t *mct_host_state(void);
uint32_t mct_host_state_bytes(void);

/* Count updates in `counts`, zero at first, an entry for each MCT_HOST_ALIGNMENT bytes of the state; NULL: no longer. Nothing is counted where
 * the library was built without MCT_OBSERVE. */
void mct_host_observe(mct_host_updates *counts);

/* Run the episode image of `bytes` bytes, 4-aligned, and give every line to `put`. Returns what `end` printed. One run at a time. */
int32_t mct_host_run(const uint8_t *image, uint32_t bytes, mct_host_put put);

#endif

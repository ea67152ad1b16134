/* The episode driver: evaluates and trains the generated model over an episode image, and answers in protocol lines
 * (docs/protocol.md). It runs unchanged on the board, under an emulator and in the host library. */
#ifndef MCUTRAIN_EPISODE_H
#define MCUTRAIN_EPISODE_H

#include <stdint.h>

#include "mcutrain/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the port tells about itself, for the boot and end lines. */
typedef struct {
    const char *board;
    uint32_t data_bytes;
    uint32_t bss_bytes;
    uint32_t stack_reserve_bytes;
    uint32_t external_bytes; /* size of the memory that holds the image: nothing beyond it is read */
} mct_port_info;

/* The model of an episode's firmware or host library, as `build` generates it. */
extern const mct_model episode_model;

/* Run the episode image at `image` from its first evaluation to its last. Prints every line but `fault`. Returns what `end` printed. */
MCT_MUST_CHECK mct_status mct_episode_run(const mct_model *model, const uint8_t *image, const mct_port_info *port);

/* Supplied by the port. */
void mct_port_put(char c);                /* one character to the host */
uint32_t mct_port_stack_peak_bytes(void); /* high-water mark of the stack; 0 where it is not measured */

/* Marks for the profiler: the port or the generated code calls these empty, never-inlined functions, and a profiler watches their addresses. */
void mct_mark_step_begin(void); /* a training step starts */
void mct_mark_step_end(void);
void mct_mark_infer_begin(void); /* an evaluation inference starts */
void mct_mark_infer_end(void);

#ifdef __cplusplus
}
#endif
#endif

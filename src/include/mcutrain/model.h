/* The interface between generated code and the runtime.
 *
 * The code generator prints one model per firmware (or host library): straight-line C calls of the kernels, the constants, the
 * trainable state and the arena. The runtime (episode.c) only sees what is declared here. No function pointers, no heap.
 */
#ifndef MCUTRAIN_MODEL_H
#define MCUTRAIN_MODEL_H

#include <stdint.h>

#include "mcutrain/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a step reads and what it leaves behind. */
typedef struct {
    const int8_t *input; /* the sample, input_bytes codes, in external memory or SRAM; only read */
    int32_t label;       /* 0 .. classes-1; only read by mct_model_train */
    float learning_rate; /* of this step */
    uint32_t random;     /* xorshift32 state, never 0 */
    float loss;          /* out: cross-entropy of the sample before the update (train only) */
    int32_t prediction;  /* out: class with the largest logit, the lowest index on a tie */
} mct_model_state;

/* A tensor that an operator writes, for traces: op counts from 0 in execution order. */
typedef struct {
    uint16_t op;
    uint16_t output; /* 0 .. outputs of this op - 1 */
    uint32_t size_bytes;
    const void *data;
} mct_model_tensor;

typedef struct {
    uint32_t plan_crc32; /* CRC-32 of the canonical plan JSON: firmware and plan belong together */
    uint32_t input_bytes;
    uint32_t classes;
    uint32_t op_count;           /* operators of a training step */
    uint32_t inference_op_count; /* the first ones, which make an inference */
    uint32_t arena_bytes;
    uint32_t trainable_bytes; /* state that the digest covers */
    uint32_t output_bytes;    /* of the network's own int8 output (inference-only models), else 0 */
    const uint8_t *trainable; /* mct_model_reset() fills it from flash */
    const uint8_t *output;    /* output_bytes long, or NULL */
    uint32_t trace_count;
    const mct_model_tensor *trace;
} mct_model_info;

extern const mct_model_info mct_model;
extern mct_model_state mct_model_io;

/* Load the trainable state from its flash image. */
void mct_model_reset(void);

/* One inference over mct_model_io.input: sets prediction, and the output where there is one. */
MCT_MUST_CHECK mct_status mct_model_infer(void);

/* One training step: forward, loss, backward, update. A model generated for inference returns MCT_ERROR_ARGUMENT. */
MCT_MUST_CHECK mct_status mct_model_train(void);

/* The runtime supplies this; generated code calls it after operator `op` when the runtime has set mct_model_trace. */
extern uint32_t mct_model_trace; /* 0: off */
void mct_model_traced(uint32_t op);

#ifdef __cplusplus
}
#endif
#endif

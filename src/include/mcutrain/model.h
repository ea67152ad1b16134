/* A model: what code generation prints for a network and a method, and what a program does with it.
 *
 * A generated <name>.c has one external symbol, `const mct_model <name>`, declared in <name>.h: any number of models link into one image. Each
 * has its own static memory (an arena, its trainable state and a few words); nothing is allocated. The functions below take the model they work
 * on. They are not reentrant for one model; different models may run in different threads.
 *
 *     mct_reset(&digits);
 *     mct_set_learning_rate(&digits, 0.01f);
 *     status = mct_train(&digits, sample, label);    a sample of digits.input_bytes codes; mct_train_values where it is to be values
 *     if (... the minibatch is complete ...) status = mct_end_batch(&digits);
 *     status = mct_infer(&digits, sample);           then mct_prediction(&digits)
 */
#ifndef MCUTRAIN_MODEL_H
#define MCUTRAIN_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "mcutrain/status.h"
#ifdef MCT_ARCHIVE /* the installed archive is linked: it is for one core */
#include "mcutrain/archive.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What a run reads and what it leaves behind. */
typedef struct {
    const int8_t *input; /* the sample, where the plan reads it from outside the arena */
    union {              /* what the sample is to be: a class, or values, where the model has target_values */
        int32_t label;
        const float *target;
    } wanted;
    float learning_rate;
    uint32_t random; /* xorshift32 state, never 0 */
    int32_t samples; /* trained since the last update */
    float loss;
    int32_t prediction;
} mct_model_io;

/* A tensor that an operator writes, for traces: op counts from 0. */
typedef struct {
    uint16_t op;
    uint16_t output; /* 0 .. outputs of this op - 1 */
    uint32_t size_bytes;
    const void *data;
} mct_model_tensor;

/* All members are constant; read them for sizes, and leave the pointers to the functions below. */
typedef struct mct_model {
    const char *name;
    uint32_t plan_crc32; /* CRC-32 of the canonical plan: what belongs to one plan carries it */
    uint32_t input_bytes;
    uint32_t classes;       /* outputs, whatever they mean */
    uint32_t target_values; /* `classes` where the model trains values by their mean squared error; 0 where it trains classes */
    uint32_t batch;         /* samples of a minibatch; 1: every sample updates at once */
    uint32_t arena_bytes;
    uint32_t trainable_bytes; /* of the state that has initial values in flash */
    uint32_t state_bytes;     /* of the state that is zero after a reset; it lies behind the former */
    uint32_t output_bytes;    /* of the network's own int8 output, where nothing trains; else 0 */
    mct_model_io *io;
    int8_t *input;          /* where a sample lies while it is worked on; NULL: where the caller has it */
    uint8_t *trainable;     /* trainable_bytes + state_bytes */
    const uint8_t *initial; /* trainable_bytes in flash */
    const float *logits;    /* classes, or NULL */
    const int8_t *output;   /* output_bytes, or NULL */
    float output_scale;     /* of `output`: value = output_scale * (code - output_zero_point) */
    int32_t output_zero_point;
    mct_status (*infer)(void);
    mct_status (*sample)(void);    /* NULL where nothing trains */
    mct_status (*update)(void);    /* NULL where updates run in `sample` */
    const mct_model_tensor *trace; /* NULL without MCT_TRACE */
    uint32_t trace_count;
} mct_model;

/* The state as it is in flash, the random numbers at seed 1, no sample of a minibatch. Call it before anything else. */
void mct_reset(const mct_model *model);

/* Seed of stochastic rounding and perturbation; 0 is MCT_ERROR_ARGUMENT. */
MCT_MUST_CHECK mct_status mct_seed(const mct_model *model, uint32_t seed);

/* The rate of the updates to come: finite, 0 or more; else MCT_ERROR_ARGUMENT. */
MCT_MUST_CHECK mct_status mct_set_learning_rate(const mct_model *model, float learning_rate);

/* One inference over input_bytes codes in any memory. The sample is copied into the arena where the plan has its place there; give mct_input to
 * save the copy. */
MCT_MUST_CHECK mct_status mct_infer(const mct_model *model, const int8_t *sample);

/* Train on one sample; label in [0, classes). With batch 1 its update has run when this returns. MCT_ERROR_ARGUMENT, and nothing done, for a
 * model that does not train or trains values, and where `batch` samples wait for mct_end_batch. */
MCT_MUST_CHECK mct_status mct_train(const mct_model *model, const int8_t *sample, int32_t label);

/* The same for a model that trains values: target_values of them, finite, in the unit of the network's output. They stay there during the call. */
MCT_MUST_CHECK mct_status mct_train_values(const mct_model *model, const int8_t *sample, const float *target);

/* The end of a minibatch: one update by the mean gradient of the samples since the last one. MCT_ERROR_ARGUMENT without any. A minibatch may be
 * shorter than `batch`. With batch 1 there is nothing left to do. */
MCT_MUST_CHECK mct_status mct_end_batch(const mct_model *model);

/* Where a sample may be written instead of being copied; NULL where the plan reads it from the caller's memory. */
int8_t *mct_input(const mct_model *model);

/* Of the last mct_infer or mct_train (there: before its update): the class, the lowest of equals; and, of mct_train, the loss. */
int32_t mct_prediction(const mct_model *model);
float mct_loss(const mct_model *model);

/* Of the last mct_infer, until the next call for this model: `classes` logits, or NULL where the output is int8; that output, or NULL. */
const float *mct_logits(const mct_model *model);
const int8_t *mct_output(const mct_model *model);

/* Softmax of the logits of the last mct_infer into `classes` floats; MCT_ERROR_ARGUMENT where the model has no logits. */
MCT_MUST_CHECK mct_status mct_probabilities(const mct_model *model, float *probabilities);

/* Mean squared error of what the last mct_infer put out (dequantised, where that is int8) against `classes` values, which is an autoencoder's
 * measure of how unusual a sample is. MCT_ERROR_NOT_FINITE where it is not finite, MCT_ERROR_ARGUMENT for NULL; nothing is written then. */
MCT_MUST_CHECK mct_status mct_squared_error(const mct_model *model, const float *target, float *mean_squared_error);

/* CRC-32 of the state. */
uint32_t mct_digest(const mct_model *model);

/* The trainable state as bytes, to keep in flash or to send: a header with a version, the plan and a CRC, then the state. Between mct_save and
 * mct_restore nothing is lost: training goes on with the very bits. mct_restore checks everything first: on MCT_ERROR_FORMAT nothing has changed.
 * Buffers need no alignment. */
size_t mct_saved_bytes(const mct_model *model);
MCT_MUST_CHECK mct_status mct_save(const mct_model *model, void *buffer, size_t bytes);
MCT_MUST_CHECK mct_status mct_restore(const mct_model *model, const void *buffer, size_t bytes);

/* Where generated code is compiled with MCT_TRACE, it calls this behind every operator while mct_trace is not 0. visit: how many runs of the
 * operator stand before it in the text of a training sample and its update. Whoever compiles with MCT_TRACE supplies both. */
extern uint32_t mct_trace;
void mct_traced(const mct_model *model, uint32_t op, uint32_t visit);

#ifdef __cplusplus
}
#endif
#endif

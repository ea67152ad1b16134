/* A perceptron of three classes in integer arithmetic, written by hand in the form of generated code: three operators, a trainable state
 * with an image in flash, an arena, a random draw in the update, and a trace. Small, and it really learns. */
#include "mcutrain/episode.h"
#include "kernels/common/random.h"

#define INPUTS 4
#define CLASSES 3
#define OPERATOR __attribute__((noipa)) void

typedef struct {
    int32_t weights[CLASSES][INPUTS];
    int32_t bias[CLASSES];
    int32_t padding; /* to eight bytes, as plans have it: then the linker needs none, whatever alignment the compiler chooses */
} trainable_state;

static const trainable_state initial = {.weights = {{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}}, .bias = {3, 2, 1}};

trainable_state mct_model_trainable;
_Alignas(8) int32_t mct_model_arena[4]; /* the logits, and one word of padding to the alignment */
mct_model_io mct_io;

static const mct_model_tensor trace[] = {
    {.op = 0, .output = 0, .size_bytes = CLASSES * 4, .data = mct_model_arena},
    {.op = 2, .output = 0, .size_bytes = sizeof(initial.weights), .data = mct_model_trainable.weights},
    {.op = 2, .output = 1, .size_bytes = sizeof(initial.bias), .data = mct_model_trainable.bias},
};

OPERATOR mct_op_0000(void)
{
    for (int c = 0; c < CLASSES; c++) {
        int32_t sum = mct_model_trainable.bias[c];

        for (int i = 0; i < INPUTS; i++) {
            sum += mct_model_trainable.weights[c][i] * mct_io.input[i];
        }
        mct_model_arena[c] = sum;
    }
    mct_io.prediction = 0;
    for (int c = 1; c < CLASSES; c++) {
        if (mct_model_arena[c] > mct_model_arena[mct_io.prediction]) {
            mct_io.prediction = c;
        }
    }
}

OPERATOR mct_op_0001(void)
{
    const int32_t gap = mct_model_arena[mct_io.prediction] - mct_model_arena[mct_io.wanted.label];

    mct_io.loss = (float)gap * mct_io.learning_rate / 3.0f;
}

OPERATOR mct_op_0002(void)
{
    const int32_t step = 1 + (int32_t)(mct_random_next(&mct_io.random) & 1u);

    if (mct_io.prediction == mct_io.wanted.label) {
        return;
    }
    for (int i = 0; i < INPUTS; i++) {
        mct_model_trainable.weights[mct_io.wanted.label][i] += step * mct_io.input[i];
        mct_model_trainable.weights[mct_io.prediction][i] -= step * mct_io.input[i];
    }
    mct_model_trainable.bias[mct_io.wanted.label] += step;
    mct_model_trainable.bias[mct_io.prediction] -= step;
}

static void traced(uint32_t op)
{
    if (mct_trace != 0) {
        mct_traced(&episode_model, op, 0);
    }
}

static mct_status infer(void)
{
    mct_op_0000();
    return MCT_OK;
}

static mct_status train(void)
{
    mct_op_0000();
    traced(0);
    mct_op_0001();
    traced(1);
    mct_op_0002();
    traced(2);
    return MCT_OK;
}

const mct_model episode_model = {
    .name = "perceptron",
    .plan_crc32 = 0x1234abcdu,
    .input_bytes = INPUTS,
    .classes = CLASSES,
    .batch = 1,
    .arena_bytes = sizeof(mct_model_arena),
    .trainable_bytes = sizeof(mct_model_trainable),
    .io = &mct_io,
    .trainable = (uint8_t *)&mct_model_trainable,
    .initial = (const uint8_t *)&initial,
    .infer = infer,
    .sample = train,
    .trace = trace,
    .trace_count = sizeof(trace) / sizeof(trace[0]),
};

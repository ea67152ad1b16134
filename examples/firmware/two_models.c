/* Two networks in one image: each trains on a sample and infers one while the other is half way. Both end with the digest that each has
 * alone. */
#include <inttypes.h>
#include <stdio.h>

#include "digits_biases.h"
#include "digits_biases_samples.h"
#include "digits_sparse.h"
#include "digits_sparse_samples.h"

typedef struct {
    const mct_model *model;
    const int8_t *samples;
    const int32_t *labels;
    const float *rates;
    uint32_t steps, seed, digest;
} course;

static const course courses[] = {
    {&digits_biases, digits_biases_samples[0], digits_biases_labels, digits_biases_rates, DIGITS_BIASES_STEPS, DIGITS_BIASES_SEED,
     DIGITS_BIASES_DIGEST},
    {&digits_sparse, digits_sparse_samples[0], digits_sparse_labels, digits_sparse_rates, DIGITS_SPARSE_STEPS, DIGITS_SPARSE_SEED,
     DIGITS_SPARSE_DIGEST},
};

#define COURSES (sizeof courses / sizeof courses[0])

static mct_status step(const course *of, uint32_t n)
{
    const int8_t *const sample = of->samples + n * of->model->input_bytes;
    mct_status status = mct_set_learning_rate(of->model, of->rates[n]);

    if (status == MCT_OK) {
        status = mct_train(of->model, sample, of->labels[n]);
    }
    if (status == MCT_OK && (n + 1) % of->model->batch == 0) {
        status = mct_end_batch(of->model);
    }
    return status == MCT_OK ? mct_infer(of->model, of->samples) : status;
}

int main(void)
{
    mct_status status = MCT_OK;
    int wrong = 0;

    for (uint32_t i = 0; i < COURSES && status == MCT_OK; i++) {
        mct_reset(courses[i].model);
        status = mct_seed(courses[i].model, courses[i].seed);
    }
    for (uint32_t n = 0; n < DIGITS_SPARSE_STEPS || n < DIGITS_BIASES_STEPS; n++) {
        for (uint32_t i = 0; i < COURSES && status == MCT_OK; i++) {
            status = n < courses[i].steps ? step(&courses[i], n) : MCT_OK;
        }
    }
    for (uint32_t i = 0; i < COURSES; i++) {
        const uint32_t digest = mct_digest(courses[i].model);

        printf("%s: status %d, digest %08" PRIx32 "\n", courses[i].model->name, (int)status, digest);
        wrong += digest != courses[i].digest;
    }
    return status == MCT_OK && wrong == 0 ? 0 : 1;
}

/* An application that trains a network: half of its samples, then the state into a buffer as if the power went, a reset, the state back, and
 * the other half. The state that comes out is, bit for bit, that of the episode whose samples these are (README.md). */
#include <inttypes.h>
#include <stdio.h>

#include "digits_sparse.h"
#include "digits_sparse_samples.h"

static uint8_t saved[DIGITS_SPARSE_SAVED_BYTES];

static mct_status train(int begin, int end)
{
    for (int i = begin; i < end; i++) {
        mct_status status = mct_set_learning_rate(&digits_sparse, digits_sparse_rates[i]);

        if (status == MCT_OK) {
            status = mct_train(&digits_sparse, digits_sparse_samples[i], digits_sparse_labels[i]);
        }
        if (status == MCT_OK && (i + 1) % DIGITS_SPARSE_BATCH == 0) {
            status = mct_end_batch(&digits_sparse);
        }
        if (status != MCT_OK) {
            return status;
        }
    }
    return MCT_OK;
}

/* How many of the samples are classified right; -1 where an inference fails. */
static int count_correct(void)
{
    int correct = 0;

    for (int i = 0; i < DIGITS_SPARSE_STEPS; i++) {
        if (mct_infer(&digits_sparse, digits_sparse_samples[i]) != MCT_OK) {
            return -1;
        }
        correct += mct_prediction(&digits_sparse) == digits_sparse_labels[i];
    }
    return correct;
}

int main(void)
{
    mct_reset(&digits_sparse);
    mct_status status = mct_seed(&digits_sparse, DIGITS_SPARSE_SEED);
    const int before = count_correct();

    if (status == MCT_OK) {
        status = train(0, DIGITS_SPARSE_STEPS / 2);
    }
    if (status == MCT_OK) {
        status = mct_save(&digits_sparse, saved, sizeof saved);
    }
    mct_reset(&digits_sparse); /* all that was learnt is gone */
    if (status == MCT_OK) {
        status = mct_restore(&digits_sparse, saved, sizeof saved);
    }
    if (status == MCT_OK) {
        status = train(DIGITS_SPARSE_STEPS / 2, DIGITS_SPARSE_STEPS);
    }
    const uint32_t digest = mct_digest(&digits_sparse);

    printf("status %d, digest %08" PRIx32 ", correct %d before, %d after\n", (int)status, digest, before, count_correct());
    return status == MCT_OK && digest == DIGITS_SPARSE_DIGEST ? 0 : 1;
}

#include "host.h"

#include "kernels/common/observe.h"
#include "mcutrain/episode.h"

/* A callback a line and not a character: crossing into Python costs a microsecond. The longest line, a dump, has under 256 characters. */
static struct {
    mct_host_put put;
    uint32_t bytes;
    char line[512];
} host;

static mct_host_updates *observed; /* or NULL */

void mct_observe_update(const void *tensor, float largest, float ratio)
{
    const uintptr_t offset = (uintptr_t)tensor - (uintptr_t)episode_model.trainable;

    if (observed == NULL || offset >= mct_host_state_bytes()) {
        return;
    }
    mct_host_updates *const seen = &observed[offset / MCT_HOST_ALIGNMENT];

    seen->updates++;
    if (!(largest > 0.0f)) {
        seen->zero++;
        return;
    }
    if (seen->updates - seen->zero == 1u) {
        seen->smallest_ratio = seen->largest_ratio = ratio;
    }
    seen->capped += ratio < 1.0f ? 1u : 0u;
    seen->smallest_ratio = ratio < seen->smallest_ratio ? ratio : seen->smallest_ratio;
    seen->largest_ratio = ratio > seen->largest_ratio ? ratio : seen->largest_ratio;
    seen->largest_step = largest > seen->largest_step ? largest : seen->largest_step;
}

void mct_host_observe(mct_host_updates *counts)
{
    observed = counts;
}

const uint8_t *mct_host_state(void)
{
    return episode_model.trainable;
}

uint32_t mct_host_state_bytes(void)
{
    return episode_model.trainable_bytes + episode_model.state_bytes;
}

void mct_port_put(char c)
{
    host.line[host.bytes++] = c;
    if (c == '\n' || host.bytes == sizeof(host.line)) {
        host.put(host.line, host.bytes);
        host.bytes = 0;
    }
}

uint32_t mct_port_stack_peak_bytes(void)
{
    return 0;
}

int32_t mct_host_run(const uint8_t *image, uint32_t bytes, mct_host_put put)
{
    const mct_port_info port = {.board = "host", .external_bytes = bytes};

    host.put = put;
    host.bytes = 0;
    return (int32_t)mct_episode_run(&episode_model, image, &port);
}

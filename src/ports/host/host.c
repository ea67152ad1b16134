#include "host.h"

#include "mcutrain/episode.h"

/* A callback a line and not a character: crossing into Python costs a microsecond. The longest line, a dump, has under 256 characters. */
static struct {
    mct_host_put put;
    uint32_t bytes;
    char line[512];
} host;

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

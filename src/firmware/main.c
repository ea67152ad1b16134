/* The training application: run the episode in external memory, and end with its status. */
#include "mcutrain/episode.h"
#include "ports/cortex_m/board.h"

int main(void)
{
    const mct_port_info port = {
        .board = MCT_BOARD_NAME,
        .data_bytes = MCT_VALUE(mct_data_bytes),
        .bss_bytes = MCT_VALUE(mct_bss_bytes),
        .stack_reserve_bytes = MCT_VALUE(mct_stack_bytes),
        .external_bytes = MCT_VALUE(mct_external_bytes),
    };

    return (int)mct_episode_run(&episode_model, (const uint8_t *)mct_external_base, &port);
}

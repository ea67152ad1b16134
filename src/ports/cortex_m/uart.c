/* CMSDK APB UART0, transmit only, polled. */
#include "board.h"
#include "mcutrain/episode.h"

typedef struct {
    volatile uint32_t data, state, control, interrupt, baud_divisor;
} uart_registers;

#define UART0 ((uart_registers *)0x40004000u)
#define STATE_TX_FULL 1u
#define CONTROL_TX_ENABLE 1u
#define SMALLEST_BAUD_DIVISOR 16u

/* Far longer than a character at any baud rate. A character that cannot leave is dropped: the line's CRC then fails the run, where waiting
 * for ever would hang it. */
#define MAX_POLLS 1000000u

void mct_uart_init(void)
{
    UART0->baud_divisor = SMALLEST_BAUD_DIVISOR; /* first: Renode's model drops what is sent before */
    UART0->control = CONTROL_TX_ENABLE;
}

void mct_port_put(char c)
{
    for (uint32_t polls = 0; polls < MAX_POLLS; polls++) {
        if ((UART0->state & STATE_TX_FULL) == 0) {
            UART0->data = (uint8_t)c;
            return;
        }
    }
}

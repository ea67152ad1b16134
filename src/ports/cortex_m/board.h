/* The board as the linker knows it: cmake/Board.cmake hands the numbers of emulation/boards/<board>.yaml to linker.ld, and the firmware takes
 * them from there, so that there is one source. Each symbol's *address* is the value. */
#ifndef MCUTRAIN_PORTS_CORTEX_M_BOARD_H
#define MCUTRAIN_PORTS_CORTEX_M_BOARD_H

#include <stdint.h>

extern uint32_t mct_flash_base[], mct_flash_bytes[];
extern uint32_t mct_sram_base[], mct_sram_bytes[];
extern uint32_t mct_external_base[], mct_external_bytes[];
extern uint32_t mct_stack_base[], mct_stack_top[], mct_stack_bytes[];
extern uint32_t mct_data_load[], mct_data_start[], mct_data_end[], mct_data_bytes[];
extern uint32_t mct_bss_start[], mct_bss_end[], mct_bss_bytes[];

#define MCT_VALUE(symbol) ((uint32_t)(uintptr_t)(symbol))

/* mpu.c: everything but the board's own memories and UART0 faults from here on. */
void mct_mpu_init(void);

/* uart.c */
void mct_uart_init(void);

/* stack.c */
void mct_stack_paint(void);

/* semihosting.c: ends the program; the debugger or emulator exits with `code`. */
_Noreturn void mct_semihosting_exit(uint32_t code);

/* fault.c: where every exception goes. */
void mct_fault_entry(void);

/* Exit code after a fault, outside the values of mct_status. */
#define MCT_EXIT_FAULT 101u

#endif

/* From reset to main. Only the FPU and the MPU are set up: clocks and caches do not change what a program computes. */
#include <string.h>

#include "board.h"
#include "core.h"

int main(void);
void mct_start(void);

typedef union {
    uint32_t *stack;
    void (*handler)(void);
} vector;

/* Every exception but reset ends the run: the firmware polls, and takes no interrupts. */
__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    {.stack = mct_stack_top},     {.handler = mct_start},       {.handler = mct_fault_entry}, {.handler = mct_fault_entry},
    {.handler = mct_fault_entry}, {.handler = mct_fault_entry}, {.handler = mct_fault_entry}, {.handler = mct_fault_entry},
    {.handler = mct_fault_entry}, {.handler = mct_fault_entry}, {.handler = mct_fault_entry}, {.handler = mct_fault_entry},
    {.handler = mct_fault_entry}, {.handler = mct_fault_entry}, {.handler = mct_fault_entry}, {.handler = mct_fault_entry},
};

#define CPACR_FPU (0xFu << 20)   /* full access to CP10 and CP11 */
#define CCR_DIV_0_TRAP (1u << 4) /* a division by zero is a bug, not a 0 */
#define SHCSR_FAULTS (7u << 16)  /* MemManage, BusFault and UsageFault have handlers of their own */

void mct_start(void)
{
    MCT_SCB_CPACR |= CPACR_FPU;
    mct_barrier();
    memcpy(mct_data_start, mct_data_load, MCT_VALUE(mct_data_bytes));
    memset(mct_bss_start, 0, MCT_VALUE(mct_bss_bytes));
    mct_stack_paint();
    MCT_SCB_CCR |= CCR_DIV_0_TRAP;
    MCT_SCB_SHCSR |= SHCSR_FAULTS;
    mct_mpu_init();
    mct_uart_init();
    mct_semihosting_exit((uint32_t)main());
}

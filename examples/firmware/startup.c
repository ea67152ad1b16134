/* Start-up for QEMU's mps2 machines, in place of a board's own: the vector table at address 0 and the FPU. The rest is newlib's. */
#include <stdint.h>

#define CPACR (*(volatile uint32_t *)0xE000ED88u)

void _start(void); /* newlib: clears .bss, asks for a stack, calls main and hands its result to the emulator */
void reset(void);

void reset(void)
{
    CPACR |= 0xFu << 20; /* full access to the floating-point unit */
    __asm__ volatile("dsb\n isb");
    _start();
}

static void fault(void)
{
    for (;;) {
    }
}

typedef void (*handler)(void);

/* The stack pointer, which _start replaces, and the exceptions that this program can take. */
__attribute__((section(".vectors"), used)) const handler vectors[7] = {(handler)0x20001000u, reset, fault, fault, fault, fault, fault};

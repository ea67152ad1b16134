/* Arm semihosting: how the program tells an emulator or a debugger that it has ended, and with which code. */
#include "board.h"

#define SYS_EXIT_EXTENDED 0x20u
#define APPLICATION_EXIT 0x20026u

_Noreturn void mct_semihosting_exit(uint32_t code)
{
    const uint32_t parameters[2] = {APPLICATION_EXIT, code};
    register uint32_t operation __asm__("r0") = SYS_EXIT_EXTENDED;
    register const uint32_t *block __asm__("r1") = parameters;

    __asm__ volatile("bkpt 0xab" : "+r"(operation) : "r"(block) : "memory");
    for (;;) { /* only a debugger that ignores the request comes here */
    }
}

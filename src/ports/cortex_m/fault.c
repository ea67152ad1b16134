/* Faults end the run with a line that says which, where, and by whom. */
#include "board.h"
#include "core.h"
#include "runtime/protocol.h"

#define CFSR_MEMORY 0xFFu
#define CFSR_BUS 0xFF00u
#define CFSR_USAGE 0xFFFF0000u
#define CFSR_MEMORY_FETCH (1u << 0)
#define CFSR_MEMORY_STACKING (1u << 4)
#define CFSR_MEMORY_ADDRESS_VALID (1u << 7)
#define CFSR_BUS_FETCH (1u << 8)
#define CFSR_BUS_STACKING (1u << 12)
#define CFSR_BUS_ADDRESS_VALID (1u << 15)

void mct_fault(uint32_t pc);

static const char *kind_of(uint32_t cfsr)
{
    if ((cfsr & CFSR_MEMORY) != 0) {
        return "memory";
    }
    if ((cfsr & CFSR_BUS) != 0) {
        return "bus";
    }
    return (cfsr & CFSR_USAGE) != 0 ? "usage" : "hard";
}

static uint32_t address_of(uint32_t cfsr, uint32_t pc)
{
    if ((cfsr & CFSR_MEMORY_ADDRESS_VALID) != 0) {
        return MCT_SCB_MMFAR;
    }
    if ((cfsr & CFSR_BUS_ADDRESS_VALID) != 0) {
        return MCT_SCB_BFAR;
    }
    return (cfsr & (CFSR_MEMORY_FETCH | CFSR_BUS_FETCH)) != 0 ? pc : 0; /* a jump to where no code may be: the address is the pc */
}

/* pc: of the faulting instruction; 0 if the core could not save it, which is so when the stack itself overflowed. */
__attribute__((used)) void mct_fault(uint32_t pc)
{
    const uint32_t cfsr = MCT_SCB_CFSR;

    if ((cfsr & (CFSR_MEMORY_STACKING | CFSR_BUS_STACKING)) != 0) {
        pc = 0;
    }
    mct_line_begin("fault");
    mct_line_text("kind", kind_of(cfsr));
    mct_line_hex("address", address_of(cfsr, pc));
    mct_line_hex("pc", pc);
    mct_line_end();
    mct_semihosting_exit(MCT_EXIT_FAULT);
}

/* A fault never returns, so the handler may start over at the top of the stack: it then runs even after a stack overflow, and needs no stack
 * of its own. The saved pc is read first, and only if the saved frame (8 words) lies in the stack. */
__attribute__((naked)) void mct_fault_entry(void)
{
    __asm__ volatile("mrs  r1, msp\n\t"
                     "ldr  r2, =mct_stack_base\n\t"
                     "ldr  r3, =mct_stack_top - 32\n\t"
                     "movs r0, #0\n\t"
                     "cmp  r1, r2\n\t"
                     "blo  1f\n\t"
                     "cmp  r1, r3\n\t"
                     "bhi  1f\n\t"
                     "ldr  r0, [r1, #24]\n"
                     "1:\n\t"
                     "adds r3, #32\n\t"
                     "mov  sp, r3\n\t"
                     "b    mct_fault\n\t"
                     ".ltorg");
}

/* The board's real limits, on a machine that has more memory than the board. PMSAv7 regions are powers of two, as the boards' memories are.
 *
 * Whatever is not the board's faults: below SRAM (the stack's guard), beyond it, and every other device. The background region stays off,
 * which is all that the architecture asks for; the first two regions say it once more, for emulators that let privileged code through
 * where no region matches, and for the M7, which may read ahead by speculation wherever memory is not said to be out of bounds. */
#include "board.h"
#include "core.h"

#define CTRL_ENABLE 1u
#define RASR_ENABLE 1u
#define RASR_XN (1u << 28)
#define RASR_NO_ACCESS 0u
#define RASR_READ_WRITE (1u << 24) /* privileged only: there is no unprivileged code */
#define RASR_READ_ONLY (5u << 24)
#define RASR_FLASH (1u << 17)           /* normal, write-through */
#define RASR_SRAM (1u << 17 | 1u << 16) /* normal, write-back */
#define RASR_DEVICE (1u << 16)
#define RASR_DENIED (RASR_NO_ACCESS | RASR_XN) /* and strongly ordered */

/* The address space in halves, since no 32 bits hold the size of all of it. The eighths 6 and 7 of the upper half stay out of its region:
 * they are 0xE0000000 and on, the core's own registers. */
#define HALF_BYTES 0x80000000u
#define BUT_SYSTEM_SPACE (0xC0u << 8)

#define UART0_BASE 0x40004000u
#define UART0_BYTES 0x1000u

/* The null page: the vector table, which only the core itself reads, and not by way of the MPU. What goes through a null pointer, or to a
 * field near it, faults. It is as large as the pages for which emulators look permissions up, and nothing else lies in it (linker.ld): code
 * beside a smaller region would run one instruction at a time on QEMU, and Renode would let the region be read from then on. */
#define NULL_PAGE_BYTES 1024u

/* In this order: where two regions meet, the later one holds. */
enum { LOWER_HALF, UPPER_HALF, FLASH, SRAM, EXTERNAL, UART0, NULL_PAGE, REGIONS };

_Static_assert(REGIONS <= 8, "the MPU of a Cortex-M4 has 8 regions");

static void set_region(uint32_t number, uint32_t base, uint32_t bytes, uint32_t attributes)
{
    const uint32_t size = 30u - (uint32_t)__builtin_clz(bytes); /* 2^(size + 1) bytes, a power of two, 32 or more */

    MCT_MPU_RNR = number;
    MCT_MPU_RBAR = base;
    MCT_MPU_RASR = attributes | size << 1 | RASR_ENABLE;
}

void mct_mpu_init(void)
{
    set_region(LOWER_HALF, 0, HALF_BYTES, RASR_DENIED);
    set_region(UPPER_HALF, HALF_BYTES, HALF_BYTES, RASR_DENIED | BUT_SYSTEM_SPACE);
    set_region(FLASH, MCT_VALUE(mct_flash_base), MCT_VALUE(mct_flash_bytes), RASR_READ_ONLY | RASR_FLASH);
    set_region(SRAM, MCT_VALUE(mct_sram_base), MCT_VALUE(mct_sram_bytes), RASR_READ_WRITE | RASR_SRAM | RASR_XN);
    set_region(EXTERNAL, MCT_VALUE(mct_external_base), MCT_VALUE(mct_external_bytes), RASR_READ_ONLY | RASR_FLASH | RASR_XN);
    set_region(UART0, UART0_BASE, UART0_BYTES, RASR_READ_WRITE | RASR_DEVICE | RASR_XN);
    set_region(NULL_PAGE, MCT_VALUE(mct_flash_base), NULL_PAGE_BYTES, RASR_DENIED);
    mct_barrier();
    MCT_MPU_CTRL = CTRL_ENABLE;
    mct_barrier();
}

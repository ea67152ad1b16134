/* The board's real limits, on a machine that has more memory than the board. PMSAv7 regions are powers of two, as the boards' memories are.
 * The background region stays off, so whatever no region names faults: below SRAM (the stack's guard), beyond it, and every other device. */
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

#define UART0_BASE 0x40004000u
#define UART0_BYTES 0x1000u

/* The null page: the vector table, which only the core itself reads, and not by way of the MPU. What goes through a null pointer, or to a
 * field near it, faults. A later region goes before an earlier one, so this one is behind flash. */
#define NULL_PAGE_BYTES 64u /* check: 16 * 4 == 64 == 2^6 */

static void set_region(uint32_t number, uint32_t base, uint32_t bytes, uint32_t attributes)
{
    const uint32_t size = 30u - (uint32_t)__builtin_clz(bytes); /* 2^(size + 1) bytes, a power of two, 32 or more */

    MCT_MPU_RNR = number;
    MCT_MPU_RBAR = base;
    MCT_MPU_RASR = attributes | size << 1 | RASR_ENABLE;
}

void mct_mpu_init(void)
{
    set_region(0, MCT_VALUE(mct_flash_base), MCT_VALUE(mct_flash_bytes), RASR_READ_ONLY | RASR_FLASH);
    set_region(1, MCT_VALUE(mct_sram_base), MCT_VALUE(mct_sram_bytes), RASR_READ_WRITE | RASR_SRAM | RASR_XN);
    set_region(2, MCT_VALUE(mct_external_base), MCT_VALUE(mct_external_bytes), RASR_READ_ONLY | RASR_FLASH | RASR_XN);
    set_region(3, UART0_BASE, UART0_BYTES, RASR_READ_WRITE | RASR_DEVICE | RASR_XN);
    set_region(4, MCT_VALUE(mct_flash_base), NULL_PAGE_BYTES, RASR_NO_ACCESS | RASR_FLASH | RASR_XN);
    mct_barrier();
    MCT_MPU_CTRL = CTRL_ENABLE;
    mct_barrier();
}

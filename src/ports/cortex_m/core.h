/* The few core registers that the port uses (Armv7-M Architecture Reference Manual, B3), from the user's CMSIS-Core headers where the build
 * has them (-DCMSIS_CORE_DIR=), else from our own definitions of the same names. */
#ifndef MCUTRAIN_PORTS_CORTEX_M_CORE_H
#define MCUTRAIN_PORTS_CORTEX_M_CORE_H

#include <stdint.h>

#ifdef MCT_CMSIS_CORE

/* What a device header of CMSIS would say of this board. */
typedef enum {
    NonMaskableInt_IRQn = -14,
    HardFault_IRQn = -13,
    MemoryManagement_IRQn = -12,
    BusFault_IRQn = -11,
    UsageFault_IRQn = -10,
    SVCall_IRQn = -5,
    DebugMonitor_IRQn = -4,
    PendSV_IRQn = -2,
    SysTick_IRQn = -1,
    UART0_RX_IRQn = 0
} IRQn_Type;
#define __MPU_PRESENT 1
#define __FPU_PRESENT 1
#define __NVIC_PRIO_BITS 3
#define __Vendor_SysTickConfig 0
#if defined(MCT_CORE_CORTEX_M7)
#define __CM7_REV 0x0102
#define __FPU_DP 1
#define __ICACHE_PRESENT 1
#define __DCACHE_PRESENT 1
#define __DTCM_PRESENT 0
#include "core_cm7.h"
#else
#define __CM4_REV 0x0001
#include "core_cm4.h"
#endif

#define MCT_MPU_CTRL (MPU->CTRL)
#define MCT_MPU_RNR (MPU->RNR)
#define MCT_MPU_RBAR (MPU->RBAR)
#define MCT_MPU_RASR (MPU->RASR)
#define MCT_SCB_CCR (SCB->CCR)
#define MCT_SCB_SHCSR (SCB->SHCSR)
#define MCT_SCB_CFSR (SCB->CFSR)
#define MCT_SCB_MMFAR (SCB->MMFAR)
#define MCT_SCB_BFAR (SCB->BFAR)
#define MCT_SCB_CPACR (SCB->CPACR)

#else

#define MCT_REGISTER(address) (*(volatile uint32_t *)(address))
#define MCT_SCB_CCR MCT_REGISTER(0xE000ED14u)
#define MCT_SCB_SHCSR MCT_REGISTER(0xE000ED24u)
#define MCT_SCB_CFSR MCT_REGISTER(0xE000ED28u)
#define MCT_SCB_MMFAR MCT_REGISTER(0xE000ED34u)
#define MCT_SCB_BFAR MCT_REGISTER(0xE000ED38u)
#define MCT_SCB_CPACR MCT_REGISTER(0xE000ED88u)
#define MCT_MPU_CTRL MCT_REGISTER(0xE000ED94u)
#define MCT_MPU_RNR MCT_REGISTER(0xE000ED98u)
#define MCT_MPU_RBAR MCT_REGISTER(0xE000ED9Cu)
#define MCT_MPU_RASR MCT_REGISTER(0xE000EDA0u)

#endif

static inline void mct_barrier(void)
{
    __asm__ volatile("dsb\n\tisb" ::: "memory");
}

#endif

/* What the compiler is told where its own choice costs many cycles. */
#ifndef MCT_KERNELS_COMPILER_H
#define MCT_KERNELS_COMPILER_H

#if defined(__GNUC__)
/* A hot loop that needs every register: inlined, it would share them with the loops around it. */
#define MCT_NOINLINE __attribute__((noinline))
/* One body for several callers, compiled for the constants of each. */
#define MCT_SPECIALISED inline __attribute__((always_inline))
/* Loads behind it stay behind it: fetched early, operands would take the registers of the sums. */
#define MCT_LOAD_FENCE() __asm__ volatile("" ::: "memory")
#else
#define MCT_NOINLINE
#define MCT_SPECIALISED inline
#define MCT_LOAD_FENCE() ((void)0)
#endif

/* Loops of a known, small number of rounds: compilers keep them as loops where they are not asked to write them out. */
#if defined(__GNUC__)
#define MCT_UNROLL(rounds) _Pragma(MCT_TEXT(GCC unroll rounds))
#define MCT_TEXT(x) #x
#else
#define MCT_UNROLL(rounds)
#endif

/* Two instructions a cycle: the Cortex-M7, known by its double precision unit. Assembly has an order for either kind of core. */
#if defined(__ARM_FP) && (__ARM_FP & 8)
#define MCT_DUAL_ISSUE 1
#else
#define MCT_DUAL_ISSUE 0
#endif

#endif

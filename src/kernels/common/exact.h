/* Results are the same bits on every machine (docs/arithmetic.md), whatever flags the user compiles with: every source of the kernels
 * includes this before anything else. It switches off what a compiler may do to float32 by default, and refuses to compile where that is
 * not enough. C11 is what the kernels need. */
#ifndef MCT_KERNELS_EXACT_H
#define MCT_KERNELS_EXACT_H

/* A product and a sum round one by one, never as one fused operation. gcc fuses by default but for -std=c11 and the like, and does not
 * know the standard's pragma. (VMLA, which it takes at -Os, rounds twice.) With -ffp-contract=fast clang listens to neither. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#pragma clang fp contract(off) reassociate(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#else
#pragma STDC FP_CONTRACT OFF
#endif

#include <float.h>
#include <stdint.h>

#if defined(__FAST_MATH__)
#error "mcutrain: -ffast-math and -Ofast change float32 results, which are held bit for bit. Compile the kernels without them"
#elif defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ != 0
#error "mcutrain: -ffinite-math-only drops the checks that find a diverged training. Compile the kernels without it"
#elif defined(__ASSOCIATIVE_MATH__)
#error "mcutrain: -funsafe-math-optimizations reorders float32 sums, whose order is specified. Compile the kernels without it"
#elif defined(__RECIPROCAL_MATH__)
#error "mcutrain: -freciprocal-math turns float32 divisions into products, which round differently. Compile the kernels without it"
#elif defined(__NO_SIGNED_ZEROS__)
#error "mcutrain: -fno-signed-zeros changes the bits of float32 results. Compile the kernels without it"
#endif

#if !defined(FLT_EVAL_METHOD) || FLT_EVAL_METHOD != 0
#error "mcutrain: float32 is evaluated with more precision than it has (FLT_EVAL_METHOD), as by an x87. Compile for SSE (-mfpmath=sse)"
#elif FLT_RADIX != 2 || FLT_MANT_DIG != 24 || FLT_MAX_EXP != 128 || FLT_MIN_EXP != -125
#error "mcutrain: float has to be IEEE 754's binary32"
#endif

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "mcutrain: words of codes, masks and the digest of the trainable state are little-endian. Compile for a little-endian core"
#endif

#if !defined(__STDC_VERSION__) || __STDC_VERSION__ < 201112L
#error "mcutrain: the kernels are C11. Compile them with -std=c11 or later (gnu11, c17, ...)"
#endif

_Static_assert(sizeof(int) == sizeof(int32_t), "products of int16 are int32");
_Static_assert(-3 >> 1 == -2, "a right shift rounds down");

#endif

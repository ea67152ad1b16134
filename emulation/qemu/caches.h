/* The caches before a board's flash, for the profile plugin: which lines the program has to wait for. */
#ifndef MCUTRAIN_QEMU_CACHES_H
#define MCUTRAIN_QEMU_CACHES_H

#include <stdbool.h>
#include <stdint.h>

/* Lines that were filled while a block ran for a mark. */
typedef struct {
    uint64_t at_jumps;    /* of code, not the line after the one fetched before */
    uint64_t in_sequence; /* of code, the line after it: a prefetcher has begun to read it */
    uint64_t data;
} fills;

/* Read the description: lines "flash <base> <bytes>", "free <base> <bytes>" (hexadecimal; free memory costs nothing), "instructions
 * <line bytes> <sets> <ways>" and "data <line bytes> <sets> <ways>". False, with a message, where it cannot. */
bool caches_read(const char *path);

/* Whether code at an address comes through the instruction cache. */
bool caches_have_code(uint64_t address);

/* The program runs the bytes [address, address + bytes), which caches_have_code, from the first to the last. */
void caches_fetch(uint64_t address, uint32_t bytes, fills *counts);

/* The program loads or stores. */
void caches_access(uint64_t address, uint32_t bytes, fills *counts);

/* The first address that no region has. False: there was none. */
bool caches_outside(uint64_t *address);

#endif

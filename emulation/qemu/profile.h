/* The graph that the profile plugin collects (profile.c) and writes (profile_output.c). */
#ifndef MCUTRAIN_QEMU_PROFILE_H
#define MCUTRAIN_QEMU_PROFILE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "caches.h"

#define BUCKETS 8192u
#define NAME_CHARACTERS 128

typedef struct {
    uint64_t address;
    uint64_t visits;
    char name[NAME_CHARACTERS];
} mark;

typedef struct node node;

typedef struct block {
    uint64_t pc;
    uint32_t instructions;
    uint32_t bytes;
    uint8_t *code;
    uint32_t index; /* in the output */
    uint32_t mark;  /* that starts here, 0: none */
    node *nodes;    /* one for each mark that it ran for */
    struct block *next_in_bucket;
} block;

typedef struct edge {
    const block *to;
    node *target;
    uint64_t count;
    struct edge *next;
} edge;

struct node {
    edge first, second; /* most blocks have one or two successors */
    edge *more;
    const block *code;
    uint32_t mark;
    uint64_t count; /* filled in at the end: the sum over the edges that lead here */
    fills fills;    /* only with a description of the memory */
    node *next_of_block;
};

typedef struct {
    mark *marks; /* 0 is `reset`: before the first mark */
    uint32_t mark_count;
    block *buckets[BUCKETS]; /* all blocks, by address */
    uint32_t block_count;
    uint32_t node_count;
    node start;       /* where the first block is entered from */
    bool with_memory; /* caches are simulated */
} profile;

extern profile collected;

/* calloc that ends the emulator when there is no memory. */
void *allocate(size_t count, size_t bytes);

/* Once, at the end: it adds up the counts in the graph. */
void write_profile(FILE *file);

#endif

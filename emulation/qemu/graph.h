/* What the profile plugin collects: the graph that the program walks. Its nodes are pairs (mark, block), and every node knows the nodes that
 * followed it. So a block that runs costs a comparison, an increment and a pointer; nothing is looked up or flushed, not even when the mark
 * changes. */
#ifndef MCUTRAIN_QEMU_GRAPH_H
#define MCUTRAIN_QEMU_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

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
    block *code;
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
    node start; /* where the first block is entered from */
} graph;

extern graph collected;

/* Read the marks: a line "<hexadecimal address> <name>" for each. False, with a message, where it cannot. */
bool read_marks(const char *path);

/* The block of so many instructions at an address, NULL where there is none yet. */
block *find_block(uint64_t pc, uint32_t instructions);

/* A new block; its code, room for 4 bytes an instruction, is the caller's to fill. */
block *add_block(uint64_t pc, uint32_t instructions);

/* Size of the instruction of Thumb at `code`. */
static inline uint32_t instruction_bytes(const uint8_t *code)
{
    return code[1] >> 3 >= 0x1d ? 4 : 2;
}

/* The edge from a node to a block that is neither of its first two successors, or is not known yet. */
edge *find_rare_edge(node *from, block *to);

#endif

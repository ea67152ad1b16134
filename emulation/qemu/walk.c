#include <string.h>

#include "walk.h"

node *here = &collected.start;

static node *previous; /* the node before it */

/* A block that was left after an access: `here` is then `left`, which has no successors. */
static node left;
static node *whole;
static uint64_t accessed; /* the instruction */

static uint64_t end_of(const block *b)
{
    return b->pc + b->bytes;
}

/* Whether an instruction lies in a block, and not at its end. */
static bool is_inside(const block *b, const block *only)
{
    return only->pc >= b->pc && end_of(only) < end_of(b);
}

/* The block of the first instructions of one, up to that at `last`. */
static block *part_of(const block *b, uint64_t last)
{
    uint32_t bytes = 0;
    uint32_t instructions = 0;

    do {
        bytes += instruction_bytes(b->code + bytes);
        instructions++;
    } while (b->pc + bytes <= last);
    block *part = find_block(b->pc, instructions);
    if (part == NULL) {
        part = add_block(b->pc, instructions);
        memcpy(part->code, b->code, bytes);
        part->bytes = bytes;
    }
    return part;
}

static edge *edge_to(node *from, block *to)
{
    return from->first.to == to ? &from->first : from->second.to == to ? &from->second : find_rare_edge(from, to);
}

static inline void follow(edge *taken)
{
    taken->count++;
    previous = here;
    here = taken->target;
}

/* The first step behind an access that left a block. Returns whether it goes on with the rest. */
static bool goes_on(const block *to)
{
    block *b = whole->code;

    here = whole;
    if (end_of(to) == end_of(b) && to->pc == accessed + instruction_bytes(b->code + (accessed - b->pc))) {
        return true;
    }
    here = previous;
    edge_to(here, b)->count--;
    follow(edge_to(here, part_of(b, accessed)));
    return false;
}

void walk_to(block *to)
{
    edge *taken = &here->first;

    if (__builtin_expect(taken->to != to, 0)) {
        if (here == &left && goes_on(to)) {
            return;
        }
        taken = edge_to(here, to);
    }
    follow(taken);
}

void walk_accessed(const block *only)
{
    if (here != &left && is_inside(here->code, only)) {
        whole = here;
        accessed = only->pc;
        here = &left;
    }
}

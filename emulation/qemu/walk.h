/* Where the program is in the graph, and how it got on. */
#ifndef MCUTRAIN_QEMU_WALK_H
#define MCUTRAIN_QEMU_WALK_H

#include "graph.h"

/* The node that runs. */
extern node *here;

/* A block begins. */
void walk_to(block *to);

/* The one instruction of a block has accessed memory. The block itself may not have begun: QEMU since 8.2 leaves a block in the middle where
 * an instruction accesses a device, runs this instruction in a block of its own that only accesses are told of, and goes on with a block of
 * the rest. Of that rest nothing is counted, if it is what the program runs next, so that counts are those of an uncut block; if not,
 * as after an interrupt, what has run of the block is counted as a block of its own. */
void walk_accessed(const block *only);

#endif

/* The output of the profile plugin is text. Equal programs and inputs give equal files, whatever the load of the host:
 *
 *     mcutrain-profile 1
 *     mark <mark> <address> <name> <visits>                visits: arrivals at the address from another mark
 *     block <block> <pc> <instructions> <code>             a straight run of instructions; its code in hexadecimal, in memory order
 *     run <mark> <block> <count>                           how often it ran for that mark
 *     edge <mark> <block> <to mark> <to block> <count>     how often it was followed by that one
 *     fills <mark> <block> <at jumps> <in sequence> <data> lines that its runs for that mark brought from flash into the caches
 *     outside <address>                                    the first access that no region of the memory has
 *     end <instructions>                                   of everything
 *
 * The last two but `end` come only with a description of the memory. */
#ifndef MCUTRAIN_QEMU_OUTPUT_H
#define MCUTRAIN_QEMU_OUTPUT_H

#include <stdio.h>

/* Once, at the end: it adds up the counts in the graph. */
void write_profile(FILE *file);

#endif

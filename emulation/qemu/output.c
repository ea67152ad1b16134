/* Everything is sorted by address, so that the output does not depend on the order of translation. */
#include <inttypes.h>
#include <stdlib.h>

#include "allocate.h"
#include "graph.h"
#include "output.h"

static int compare_blocks(const void *a, const void *b)
{
    const block *left = *(block *const *)a;
    const block *right = *(block *const *)b;

    if (left->pc != right->pc) {
        return left->pc < right->pc ? -1 : 1;
    }
    return left->instructions < right->instructions ? -1 : left->instructions > right->instructions;
}

static int compare_nodes(const void *a, const void *b)
{
    const node *left = *(node *const *)a;
    const node *right = *(node *const *)b;

    if (left->mark != right->mark) {
        return left->mark < right->mark ? -1 : 1;
    }
    return left->code->index < right->code->index ? -1 : left->code->index > right->code->index;
}

static int compare_edges(const void *a, const void *b)
{
    return compare_nodes(&(*(edge *const *)a)->target, &(*(edge *const *)b)->target);
}

static block **sorted_blocks(void)
{
    block **blocks = allocate(collected.block_count + 1u, sizeof(*blocks));
    uint32_t count = 0;

    for (uint32_t i = 0; i < BUCKETS; i++) {
        for (block *b = collected.buckets[i]; b != NULL; b = b->next_in_bucket) {
            blocks[count++] = b;
        }
    }
    qsort(blocks, collected.block_count, sizeof(*blocks), compare_blocks);
    for (uint32_t i = 0; i < collected.block_count; i++) {
        blocks[i]->index = i;
    }
    return blocks;
}

static node **sorted_nodes(block *const *blocks)
{
    node **nodes = allocate(collected.node_count + 1u, sizeof(*nodes));
    uint32_t count = 0;

    for (uint32_t i = 0; i < collected.block_count; i++) {
        for (node *n = blocks[i]->nodes; n != NULL; n = n->next_of_block) {
            nodes[count++] = n;
        }
    }
    qsort(nodes, collected.node_count, sizeof(*nodes), compare_nodes);
    return nodes;
}

/* The edges of a node, sorted; the caller frees them. */
static edge **edges_of(node *n, uint32_t *count)
{
    uint32_t capacity = 2;

    for (const edge *e = n->more; e != NULL; e = e->next) {
        capacity++;
    }
    edge **edges = allocate(capacity, sizeof(*edges));
    *count = 0;
    if (n->first.to != NULL) {
        edges[(*count)++] = &n->first;
    }
    if (n->second.to != NULL) {
        edges[(*count)++] = &n->second;
    }
    for (edge *e = n->more; e != NULL; e = e->next) {
        edges[(*count)++] = e;
    }
    qsort(edges, *count, sizeof(*edges), compare_edges);
    return edges;
}

static void add_up(node *n)
{
    uint32_t count;
    edge **edges = edges_of(n, &count);

    for (uint32_t i = 0; i < count; i++) {
        node *target = edges[i]->target;

        target->count += edges[i]->count;
        if (target->code->mark != 0 && (n == &collected.start || n->mark != target->mark)) {
            collected.marks[target->mark].visits += edges[i]->count;
        }
    }
    free(edges);
}

static void write_edges(FILE *file, node *n)
{
    uint32_t count;
    edge **edges = edges_of(n, &count);

    for (uint32_t i = 0; i < count; i++) {
        if (edges[i]->count == 0) {
            continue; /* it was taken back, see walk.h */
        }
        fprintf(file, "edge %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu64 "\n", n->mark, n->code->index, edges[i]->target->mark,
                edges[i]->target->code->index, edges[i]->count);
    }
    free(edges);
}

static bool has_fills(const node *n)
{
    return n->fills.at_jumps + n->fills.in_sequence + n->fills.data != 0;
}

/* Whether a block ran. One may not have: QEMU also translates what it then does not run, and walk.c takes back what was left in the middle. */
static bool has_run(const block *b)
{
    for (const node *n = b->nodes; n != NULL; n = n->next_of_block) {
        if (n->count != 0 || has_fills(n)) {
            return true;
        }
    }
    return false;
}

/* The blocks that ran, which get new numbers, in the same order. */
static void write_blocks(FILE *file, block *const *blocks)
{
    uint32_t written = 0;

    for (uint32_t i = 0; i < collected.block_count; i++) {
        block *b = blocks[i];

        if (!has_run(b)) {
            continue;
        }
        b->index = written++;
        fprintf(file, "block %" PRIu32 " %" PRIx64 " %" PRIu32 " ", b->index, b->pc, b->instructions);
        for (uint32_t j = 0; j < b->bytes; j++) {
            fprintf(file, "%02x", b->code[j]);
        }
        fprintf(file, "\n");
    }
}

/* Returns the instructions of all runs. */
static uint64_t write_runs(FILE *file, node *const *nodes)
{
    uint64_t instructions = 0;

    for (uint32_t i = 0; i < collected.node_count; i++) {
        const node *n = nodes[i];

        if (n->count != 0) {
            fprintf(file, "run %" PRIu32 " %" PRIu32 " %" PRIu64 "\n", n->mark, n->code->index, n->count);
            instructions += n->count * n->code->instructions;
        }
    }
    return instructions;
}

static void write_fills(FILE *file, const node *n)
{
    if (has_fills(n)) {
        fprintf(file, "fills %" PRIu32 " %" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", n->mark, n->code->index, n->fills.at_jumps,
                n->fills.in_sequence, n->fills.data);
    }
}

void write_profile(FILE *file)
{
    block **blocks = sorted_blocks();
    node **nodes = sorted_nodes(blocks);
    uint64_t instructions;
    uint64_t outside;

    add_up(&collected.start);
    for (uint32_t i = 0; i < collected.node_count; i++) {
        add_up(nodes[i]);
    }
    fprintf(file, "mcutrain-profile 1\n");
    for (uint32_t i = 0; i < collected.mark_count; i++) {
        fprintf(file, "mark %" PRIu32 " %" PRIx64 " %s %" PRIu64 "\n", i, collected.marks[i].address, collected.marks[i].name,
                collected.marks[i].visits);
    }
    write_blocks(file, blocks);
    instructions = write_runs(file, nodes);
    for (uint32_t i = 0; i < collected.node_count; i++) {
        write_edges(file, nodes[i]);
    }
    for (uint32_t i = 0; i < collected.node_count; i++) {
        write_fills(file, nodes[i]);
    }
    if (caches_outside(&outside)) {
        fprintf(file, "outside %" PRIx64 "\n", outside);
    }
    fprintf(file, "end %" PRIu64 "\n", instructions);
}

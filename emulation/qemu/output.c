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
        fprintf(file, "edge %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu64 "\n", n->mark, n->code->index, edges[i]->target->mark,
                edges[i]->target->code->index, edges[i]->count);
    }
    free(edges);
}

static void write_fills(FILE *file, const node *n)
{
    const fills *f = &n->fills;

    if (f->at_jumps + f->in_sequence + f->data != 0) {
        fprintf(file, "fills %" PRIu32 " %" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", n->mark, n->code->index, f->at_jumps,
                f->in_sequence, f->data);
    }
}

void write_profile(FILE *file)
{
    block **blocks = sorted_blocks();
    node **nodes = sorted_nodes(blocks);
    uint64_t instructions = 0;
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
    for (uint32_t i = 0; i < collected.block_count; i++) {
        fprintf(file, "block %" PRIu32 " %" PRIx64 " %" PRIu32 " ", i, blocks[i]->pc, blocks[i]->instructions);
        for (uint32_t j = 0; j < blocks[i]->bytes; j++) {
            fprintf(file, "%02x", blocks[i]->code[j]);
        }
        fprintf(file, "\n");
    }
    for (uint32_t i = 0; i < collected.node_count; i++) {
        fprintf(file, "run %" PRIu32 " %" PRIu32 " %" PRIu64 "\n", nodes[i]->mark, nodes[i]->code->index, nodes[i]->count);
        instructions += nodes[i]->count * nodes[i]->code->instructions;
    }
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

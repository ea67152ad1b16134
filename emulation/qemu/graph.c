#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "allocate.h"
#include "graph.h"

graph collected;

bool read_marks(const char *path)
{
    FILE *file = fopen(path, "r");
    char line[NAME_CHARACTERS + 32];
    uint32_t capacity = 16;

    if (file == NULL) {
        fprintf(stderr, "mcutrain-profile: cannot read %s\n", path);
        return false;
    }
    collected.marks = allocate(capacity, sizeof(*collected.marks));
    snprintf(collected.marks[0].name, sizeof(collected.marks[0].name), "reset");
    collected.mark_count = 1;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (collected.mark_count == capacity) {
            mark *larger = allocate((size_t)capacity * 2u, sizeof(*collected.marks));

            memcpy(larger, collected.marks, capacity * sizeof(*collected.marks));
            free(collected.marks);
            collected.marks = larger;
            capacity *= 2u;
        }
        if (sscanf(line, "%" SCNx64 " %127s", &collected.marks[collected.mark_count].address, collected.marks[collected.mark_count].name) !=
            2) {
            fprintf(stderr, "mcutrain-profile: %s: not a mark: %s", path, line);
            fclose(file);
            return false;
        }
        collected.mark_count++;
    }
    fclose(file);
    return true;
}

static uint32_t mark_at(uint64_t address)
{
    for (uint32_t i = 1; i < collected.mark_count; i++) {
        if (collected.marks[i].address == address) {
            return i;
        }
    }
    return 0;
}

static block **bucket_of(uint64_t pc)
{
    return &collected.buckets[(pc >> 1) % BUCKETS];
}

block *find_block(uint64_t pc, uint32_t instructions)
{
    block *b = *bucket_of(pc);

    while (b != NULL && (b->pc != pc || b->instructions != instructions)) {
        b = b->next_in_bucket;
    }
    return b;
}

block *add_block(uint64_t pc, uint32_t instructions)
{
    block **bucket = bucket_of(pc);
    block *b = allocate(1, sizeof(*b));

    b->pc = pc;
    b->instructions = instructions;
    b->code = allocate(instructions, 4); /* an instruction of Thumb has 2 or 4 bytes */
    b->mark = mark_at(pc);
    b->next_in_bucket = *bucket;
    *bucket = b;
    collected.block_count++;
    return b;
}

static node *find_node(block *b, uint32_t mark)
{
    for (node *n = b->nodes; n != NULL; n = n->next_of_block) {
        if (n->mark == mark) {
            return n;
        }
    }
    node *made = allocate(1, sizeof(*made));
    made->code = b;
    made->mark = mark;
    made->next_of_block = b->nodes;
    b->nodes = made;
    collected.node_count++;
    return made;
}

edge *find_rare_edge(node *from, block *to)
{
    edge **link = &from->more;
    edge *found;

    while (*link != NULL && (*link)->to != to) {
        link = &(*link)->next;
    }
    found = *link;
    if (found != NULL) {
        *link = found->next;
    } else {
        /* The first two successors lie in the node itself. */
        found = from->first.to == NULL ? &from->first : from->second.to == NULL ? &from->second : allocate(1, sizeof(*found));
        found->to = to;
        found->target = find_node(to, to->mark != 0 ? to->mark : from->mark);
        if (found == &from->first || found == &from->second) {
            return found;
        }
    }
    found->next = from->more; /* to the front: what returns to a caller often returns there again */
    from->more = found;
    return found;
}

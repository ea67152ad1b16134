/* QEMU plugin: executed blocks and edges, exactly, for each mark of the firmware.
 *
 *     qemu-system-arm ... -plugin libmcutrain_profile.so,marks=<file>,output=<file>[,memory=<file>]
 *
 * A mark is a function whose entry starts a new account: from there on, whatever runs, calls included, counts for that mark, until another
 * mark is entered. Until the first one, it counts for mark 0, `reset`. The marks file has a line "<hexadecimal address> <name>" for each.
 *
 * The output is text. Equal programs and inputs give equal files, whatever the load of the host:
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
 * The last two but `end` come only with `memory`, which describes caches and regions (caches.h) and makes the run slower.
 *
 * Counts are of whole blocks: they are exact but for a block that a fault cuts short, and a fault fails the run.
 *
 * The program walks a graph whose nodes are pairs (mark, block), and every node knows the nodes that followed it. So a block that runs costs
 * a comparison, an increment and a pointer; nothing is looked up or flushed, not even when the mark changes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "profile.h"
#include "qemu_plugin_api.h"

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_API_VERSION;

profile collected;

static node *here = &collected.start;
static char *output_path;

void *allocate(size_t count, size_t bytes)
{
    void *memory = calloc(count, bytes);

    if (memory == NULL) {
        fprintf(stderr, "mcutrain-profile: out of memory\n");
        exit(1);
    }
    return memory;
}

/* Translation: QEMU may translate the same code again; both translations are then the same block. */

static uint32_t mark_at(uint64_t address)
{
    for (uint32_t i = 1; i < collected.mark_count; i++) {
        if (collected.marks[i].address == address) {
            return i;
        }
    }
    return 0;
}

static block *make_block(const struct qemu_plugin_tb *tb, uint64_t pc, uint32_t instructions)
{
    block *b = allocate(1, sizeof(*b));

    b->pc = pc;
    b->instructions = instructions;
    b->mark = mark_at(pc);
    b->code = allocate(instructions, 4); /* an instruction of Thumb has 2 or 4 bytes */
    for (size_t i = 0; i < instructions; i++) {
        const struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(tb, i);
        /* Not qemu_plugin_insn_size: before the end of a page QEMU looks at the next instruction, and adds its first half to this one. */
        const uint8_t *data = qemu_plugin_insn_data(instruction);
        const size_t bytes = data[1] >> 3 >= 0x1d ? 4 : 2;

        memcpy(b->code + b->bytes, data, bytes);
        b->bytes += (uint32_t)bytes;
    }
    collected.block_count++;
    return b;
}

static block *find_block(const struct qemu_plugin_tb *tb)
{
    const uint64_t pc = qemu_plugin_tb_vaddr(tb);
    const uint32_t instructions = (uint32_t)qemu_plugin_tb_n_insns(tb);
    block **bucket = &collected.buckets[(pc >> 1) % BUCKETS];

    for (block *b = *bucket; b != NULL; b = b->next_in_bucket) {
        if (b->pc == pc && b->instructions == instructions) {
            return b;
        }
    }
    block *made = make_block(tb, pc, instructions);
    made->next_in_bucket = *bucket;
    *bucket = made;
    return made;
}

/* Execution. */

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

static edge *find_rare_edge(node *from, block *to)
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

static void on_execution(unsigned int vcpu, void *data)
{
    block *to = data;
    edge *taken = &here->first;

    (void)vcpu;
    if (__builtin_expect(taken->to != to, 0)) {
        taken = here->second.to == to ? &here->second : find_rare_edge(here, to);
    }
    taken->count++;
    here = taken->target;
}

static void on_execution_from_flash(unsigned int vcpu, void *data)
{
    const block *b = data;

    on_execution(vcpu, data);
    caches_fetch(b->pc, b->bytes, &here->fills);
}

static void on_access(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t address, void *data)
{
    (void)vcpu;
    (void)data;
    caches_access(address, 1u << qemu_plugin_mem_size_shift(info), &here->fills);
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    const bool from_flash = collected.with_memory && caches_have_code(qemu_plugin_tb_vaddr(tb));

    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, from_flash ? on_execution_from_flash : on_execution, QEMU_PLUGIN_CB_NO_REGS, find_block(tb));
    for (size_t i = 0; collected.with_memory && i < qemu_plugin_tb_n_insns(tb); i++) {
        qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), on_access, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, NULL);
    }
}

static void on_end(qemu_plugin_id_t id, void *data)
{
    FILE *file = fopen(output_path, "w");

    (void)id;
    (void)data;
    if (file == NULL) {
        fprintf(stderr, "mcutrain-profile: cannot write %s\n", output_path);
        return;
    }
    write_profile(file);
    if (fclose(file) != 0) {
        fprintf(stderr, "mcutrain-profile: cannot write %s\n", output_path);
    }
}

static bool read_marks(const char *path)
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

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv);

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    const char *marks_path = NULL;

    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "marks=", 6) == 0) {
            marks_path = argv[i] + 6;
        } else if (strncmp(argv[i], "output=", 7) == 0) {
            output_path = strdup(argv[i] + 7);
        } else if (strncmp(argv[i], "memory=", 7) == 0) {
            collected.with_memory = true;
            if (!caches_read(argv[i] + 7)) {
                return 1;
            }
        } else {
            fprintf(stderr, "mcutrain-profile: unknown argument %s\n", argv[i]);
            return 1;
        }
    }
    if (marks_path == NULL || output_path == NULL) {
        fprintf(stderr, "mcutrain-profile: needs marks=<file>,output=<file>\n");
        return 1;
    }
    if (!read_marks(marks_path)) {
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_atexit_cb(id, on_end, NULL);
    return 0;
}

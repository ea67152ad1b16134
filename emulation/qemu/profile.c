/* QEMU plugin: executed blocks and edges, exactly, for each mark of the firmware.
 *
 *     qemu-system-arm ... -plugin libmcutrain_profile_<API>.so,marks=<file>,output=<file>[,memory=<file>]
 *
 * A mark is a function whose entry starts a new account: from there on, whatever runs, calls included, counts for that mark, until another
 * mark is entered. Until the first one, it counts for mark 0, `reset`. Files: marks, see graph.h; output, see output.h; memory describes
 * caches and regions, see caches.h, and makes the run slower.
 *
 * Counts are of whole blocks: they are exact but for a block that a fault cuts short, and a fault fails the run.
 *
 * This file alone knows QEMU. Below it lie output and walk, then graph, then caches; each knows only what is below itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "caches.h"
#include "graph.h"
#include "output.h"
#include "qemu_plugin_api.h"
#include "walk.h"

QEMU_PLUGIN_EXPORT int qemu_plugin_version = MCT_QEMU_PLUGIN_API;

static bool with_memory;
static char *output_path;

/* Translation: QEMU may translate the same code again; both translations are then the same block. */

static void read_code(const struct qemu_plugin_tb *tb, block *b)
{
    for (size_t i = 0; i < b->instructions; i++) {
        uint8_t code[4] = {0};
        const size_t read = copy_code(qemu_plugin_tb_get_insn(tb, i), code, sizeof(code));
        /* Not what QEMU says: before the end of a page, 7.2 looks at the next instruction, and adds its first half to this one. */
        const uint32_t bytes = instruction_bytes(code);

        if (read < bytes) {
            fprintf(stderr, "mcutrain-profile: QEMU does not show the code at %#llx\n", (unsigned long long)(b->pc + b->bytes));
            exit(1);
        }
        memcpy(b->code + b->bytes, code, bytes);
        b->bytes += bytes;
    }
}

static block *block_of(const struct qemu_plugin_tb *tb)
{
    const uint64_t pc = qemu_plugin_tb_vaddr(tb);
    const uint32_t instructions = (uint32_t)qemu_plugin_tb_n_insns(tb);
    block *b = find_block(pc, instructions);

    if (b == NULL) {
        b = add_block(pc, instructions);
        read_code(tb, b);
    }
    return b;
}

/* Execution. */

static void on_execution(unsigned int vcpu, void *data)
{
    (void)vcpu;
    walk_to(data);
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

static void on_only_access(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t address, void *data)
{
    (void)vcpu;
    (void)info;
    (void)address;
    walk_accessed(data);
}

static void on_translation(struct qemu_plugin_tb *tb)
{
    const bool from_flash = with_memory && caches_have_code(qemu_plugin_tb_vaddr(tb));
    block *b = block_of(tb);

    qemu_plugin_register_vcpu_tb_exec_cb(tb, from_flash ? on_execution_from_flash : on_execution, QEMU_PLUGIN_CB_NO_REGS, b);
    for (size_t i = 0; with_memory && i < b->instructions; i++) {
        qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), on_access, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, NULL);
    }
    if (b->instructions == 1) {
        qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, 0), on_only_access, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, b);
    }
}

static void on_end(void)
{
    FILE *file = fopen(output_path, "w");

    if (file == NULL) {
        fprintf(stderr, "mcutrain-profile: cannot write %s\n", output_path);
        return;
    }
    write_profile(file);
    if (fclose(file) != 0) {
        fprintf(stderr, "mcutrain-profile: cannot write %s\n", output_path);
    }
}

/* QEMU's own callbacks: their arguments are another matter in version 7. */
#if MCT_QEMU_PLUGIN_API < 7

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    on_translation(tb);
}

static void ended(qemu_plugin_id_t id, void *data)
{
    (void)id;
    (void)data;
    on_end();
}

static void register_callbacks(qemu_plugin_id_t id)
{
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
}

#else

static void translated(struct qemu_plugin_tb *tb, void *data)
{
    (void)data;
    on_translation(tb);
}

static void ended(void *data)
{
    (void)data;
    on_end();
}

static void register_callbacks(qemu_plugin_id_t id)
{
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated, NULL);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
}

#endif

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    const char *marks_path = NULL;

    if (info->version.cur != MCT_QEMU_PLUGIN_API) {
        /* QEMU takes plugins of older versions too, and then calls them, and is called, with arguments that they do not expect. */
        fprintf(stderr, "mcutrain-profile: built for version %d of QEMU's plugin interface, this QEMU has %d\n", MCT_QEMU_PLUGIN_API,
                info->version.cur);
        return 1;
    }
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "marks=", 6) == 0) {
            marks_path = argv[i] + 6;
        } else if (strncmp(argv[i], "output=", 7) == 0) {
            output_path = strdup(argv[i] + 7);
        } else if (strncmp(argv[i], "memory=", 7) == 0) {
            with_memory = true;
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
    register_callbacks(id);
    return 0;
}

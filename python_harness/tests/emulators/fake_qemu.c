/* What the profile plugin sees of QEMU: it loads the plugin as QEMU does, and plays the run that standard input describes.
 *
 *     fake_qemu <plugin> <version of the interface> <argument>...
 *
 *     block <pc> <code>       a block begins; the first time, it is translated
 *     access <pc> <address>   the instruction at <pc>, of the block that began last, accesses memory
 *     only <pc> <code> <address>  the one instruction runs in a block that only accesses are told of, as behind a device access
 */
#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "qemu_plugin_api.h"

#define BLOCKS 64
#define INSTRUCTIONS 16
#define CALLBACKS 4

typedef struct {
    qemu_plugin_vcpu_mem_cb_t call;
    void *data;
} callback;

struct qemu_plugin_insn {
    uint64_t pc;
    uint8_t code[4];
    size_t bytes;
    callback accesses[CALLBACKS];
    size_t access_count;
};

struct qemu_plugin_tb {
    uint64_t pc;
    struct qemu_plugin_insn instructions[INSTRUCTIONS];
    size_t count;
    qemu_plugin_vcpu_udata_cb_t begins;
    void *data;
};

static struct qemu_plugin_tb blocks[BLOCKS];
static size_t block_count;
static qemu_plugin_vcpu_tb_trans_cb_t translated;
static qemu_plugin_udata_cb_t ended;

#if MCT_QEMU_PLUGIN_API < 7
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, qemu_plugin_vcpu_tb_trans_cb_t cb)
#else
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, qemu_plugin_vcpu_tb_trans_cb_t cb, void *userdata)
#endif
{
    translated = cb;
}

void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, qemu_plugin_udata_cb_t cb, void *userdata)
{
    ended = cb;
}

void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, qemu_plugin_vcpu_udata_cb_t cb, enum qemu_plugin_cb_flags flags,
                                          void *userdata)
{
    tb->begins = cb;
    tb->data = userdata;
}

void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, qemu_plugin_vcpu_mem_cb_t cb, enum qemu_plugin_cb_flags flags,
                                      enum qemu_plugin_mem_rw rw, void *userdata)
{
    insn->accesses[insn->access_count++] = (callback){cb, userdata};
}

unsigned int qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t info)
{
    return 2;
}

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb)
{
    return tb->count;
}

uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb)
{
    return tb->pc;
}

struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t idx)
{
    return (struct qemu_plugin_insn *)&tb->instructions[idx];
}

size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn)
{
    return insn->bytes;
}

#if MCT_QEMU_PLUGIN_API < 3
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn)
{
    return insn->code;
}
#else
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *dest, size_t len)
{
    const size_t copied = insn->bytes < len ? insn->bytes : len;

    memcpy(dest, insn->code, copied);
    return copied;
}
#endif

static struct qemu_plugin_tb *translate(uint64_t pc, const char *code)
{
    struct qemu_plugin_tb *tb = &blocks[block_count++];
    uint64_t at = pc;

    tb->pc = pc;
    for (const char *c = code; *c != '\0'; tb->count++) {
        struct qemu_plugin_insn *insn = &tb->instructions[tb->count];
        unsigned int byte;

        insn->pc = at;
        do {
            sscanf(c, "%2x", &byte);
            insn->code[insn->bytes++] = (uint8_t)byte;
            c += 2;
        } while (insn->bytes < 2 || (insn->bytes < 4 && insn->code[1] >> 3 >= 0x1d));
        at += insn->bytes;
    }
#if MCT_QEMU_PLUGIN_API < 7
    translated(1, tb);
#else
    translated(tb, NULL);
#endif
    return tb;
}

static struct qemu_plugin_tb *block_at(uint64_t pc, const char *code)
{
    for (size_t i = 0; i < block_count; i++) {
        if (blocks[i].pc == pc) {
            return &blocks[i];
        }
    }
    return translate(pc, code);
}

static void access_memory(struct qemu_plugin_tb *tb, uint64_t pc, uint64_t address)
{
    for (size_t i = 0; i < tb->count; i++) {
        for (size_t j = 0; tb->instructions[i].pc == pc && j < tb->instructions[i].access_count; j++) {
            tb->instructions[i].accesses[j].call(0, 0, address, tb->instructions[i].accesses[j].data);
        }
    }
}

static void play(void)
{
    struct qemu_plugin_tb *last = NULL;
    char row[256];
    char code[128];
    uint64_t pc;
    uint64_t address;

    while (fgets(row, sizeof(row), stdin) != NULL) {
        if (sscanf(row, "block %" SCNx64 " %127s", &pc, code) == 2) {
            last = block_at(pc, code);
            last->begins(0, last->data);
        } else if (sscanf(row, "access %" SCNx64 " %" SCNx64, &pc, &address) == 2) {
            access_memory(last, pc, address);
        } else if (sscanf(row, "only %" SCNx64 " %127s %" SCNx64, &pc, code, &address) == 3) {
            access_memory(translate(pc, code), pc, address);
        }
    }
}

int main(int argc, char **argv)
{
    void *plugin = dlopen(argv[1], RTLD_NOW);
    const int version = atoi(argv[2]);
    const qemu_info_t info = {.version = {1, version}};
    int (*install)(qemu_plugin_id_t, const qemu_info_t *, int, char **);

    if (plugin == NULL || *(int *)dlsym(plugin, "qemu_plugin_version") > version) {
        fprintf(stderr, "fake_qemu: not for this version: %s\n", plugin == NULL ? dlerror() : "refused");
        return 2;
    }
    *(void **)&install = dlsym(plugin, "qemu_plugin_install");
    if (install(1, &info, argc - 3, argv + 3) != 0) {
        return 1;
    }
    play();
#if MCT_QEMU_PLUGIN_API < 7
    ended(1, NULL);
#else
    ended(NULL);
#endif
    return 0;
}

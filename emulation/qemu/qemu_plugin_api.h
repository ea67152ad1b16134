/* The part of QEMU's plugin interface that the profiler uses, as MCT_QEMU_PLUGIN_API, a version of it, has it. Distributions ship QEMU
 * without its plugin header, and the interface is documented (docs/devel/tcg-plugins in QEMU), so it is declared here. What a version
 * changed of this part:
 *
 *     1  QEMU 7.2 to 8.2
 *     2  9.0              nothing; QEMU refuses older plugins
 *     3  9.1              qemu_plugin_insn_data copies the code
 *     4  9.2, 10.0        nothing
 *     5  10.1, 10.2       nothing
 *     6  11.0             nothing
 *     7  11.1             callbacks have user data, and no longer the plugin's id */
#ifndef MCUTRAIN_QEMU_PLUGIN_API_H
#define MCUTRAIN_QEMU_PLUGIN_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if MCT_QEMU_PLUGIN_API < 1 || MCT_QEMU_PLUGIN_API > 7
#error "MCT_QEMU_PLUGIN_API is a version of QEMU's plugin interface, 1 to 7"
#endif

#define QEMU_PLUGIN_EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;

typedef struct {
    const char *target_name;
    struct {
        int min;
        int cur;
    } version;
    bool system_emulation;
    struct {
        int smp_vcpus;
        int max_vcpus;
    } system;
} qemu_info_t;

struct qemu_plugin_tb;
struct qemu_plugin_insn;

enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS = 0 };
enum qemu_plugin_mem_rw { QEMU_PLUGIN_MEM_RW = 3 };

typedef uint32_t qemu_plugin_meminfo_t;

typedef void (*qemu_plugin_vcpu_udata_cb_t)(unsigned int vcpu_index, void *userdata);
typedef void (*qemu_plugin_vcpu_mem_cb_t)(unsigned int vcpu_index, qemu_plugin_meminfo_t info, uint64_t vaddr, void *userdata);

#if MCT_QEMU_PLUGIN_API < 7
typedef void (*qemu_plugin_udata_cb_t)(qemu_plugin_id_t id, void *userdata);
typedef void (*qemu_plugin_vcpu_tb_trans_cb_t)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, qemu_plugin_vcpu_tb_trans_cb_t cb);
#else
typedef void (*qemu_plugin_udata_cb_t)(void *userdata);
typedef void (*qemu_plugin_vcpu_tb_trans_cb_t)(struct qemu_plugin_tb *tb, void *userdata);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, qemu_plugin_vcpu_tb_trans_cb_t cb, void *userdata);
#endif

void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, qemu_plugin_vcpu_udata_cb_t cb, enum qemu_plugin_cb_flags flags,
                                          void *userdata);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, qemu_plugin_vcpu_mem_cb_t cb, enum qemu_plugin_cb_flags flags,
                                      enum qemu_plugin_mem_rw rw, void *userdata);
unsigned int qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t info);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, qemu_plugin_udata_cb_t cb, void *userdata);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t idx);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);

/* Copy at most `bytes` of an instruction's code; returns how many there were. */
#if MCT_QEMU_PLUGIN_API < 3
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);

static inline size_t copy_code(const struct qemu_plugin_insn *insn, void *code, size_t bytes)
{
    const size_t size = qemu_plugin_insn_size(insn);
    const size_t copied = size < bytes ? size : bytes;

    memcpy(code, qemu_plugin_insn_data(insn), copied);
    return copied;
}
#else
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *dest, size_t len);

static inline size_t copy_code(const struct qemu_plugin_insn *insn, void *code, size_t bytes)
{
    return qemu_plugin_insn_data(insn, code, bytes);
}
#endif

/* What QEMU looks for in a plugin. */
extern QEMU_PLUGIN_EXPORT int qemu_plugin_version;
QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv);

#endif

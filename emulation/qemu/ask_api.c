/* QEMU plugin of a version that cannot be: QEMU refuses it, and says up to which version it takes plugins. That is the one to build the
 * profiler for (qemu_plugin_api.h); nothing else tells it, and stable releases of QEMU have moved it. */
#include <limits.h>

#define QEMU_PLUGIN_EXPORT __attribute__((visibility("default")))

extern QEMU_PLUGIN_EXPORT int qemu_plugin_version;
QEMU_PLUGIN_EXPORT int qemu_plugin_install(void);

int qemu_plugin_version = INT_MAX;

/* QEMU wants to find it, and never calls it. */
int qemu_plugin_install(void)
{
    return 1;
}

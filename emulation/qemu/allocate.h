/* Memory of the profile plugin. */
#ifndef MCUTRAIN_QEMU_ALLOCATE_H
#define MCUTRAIN_QEMU_ALLOCATE_H

#include <stddef.h>

/* calloc that ends the emulator when there is no memory. */
void *allocate(size_t count, size_t bytes);

#endif

#include <stdio.h>
#include <stdlib.h>

#include "allocate.h"

void *allocate(size_t count, size_t bytes)
{
    void *memory = calloc(count, bytes);

    if (memory == NULL) {
        fprintf(stderr, "mcutrain-profile: out of memory\n");
        exit(1);
    }
    return memory;
}

/* Set-associative caches that replace the line used least recently. Their contents, not their cycles: the harness knows what a fill costs. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "allocate.h"
#include "caches.h"

#define REGIONS 16u

typedef struct {
    uint64_t base;
    uint64_t bytes;
    bool flash;
} region;

typedef struct {
    uint32_t line_bytes;
    uint32_t sets;
    uint32_t ways;
    uint64_t *lines; /* of each set, the one used last first; a line's number + 1, 0 is none */
} cache;

static region regions[REGIONS];
static uint32_t region_count;
static cache instructions;
static cache data;
static uint64_t fetched; /* the line of code fetched last, + 1 */
static bool is_outside;
static uint64_t outside;

static const region *region_at(uint64_t address)
{
    for (uint32_t i = 0; i < region_count; i++) {
        if (address - regions[i].base < regions[i].bytes) {
            return &regions[i];
        }
    }
    if (!is_outside) {
        is_outside = true;
        outside = address;
    }
    return NULL;
}

/* Use a line: it moves to the front of its set. Returns whether it was there; if not, the last one has made room. */
static bool use(const cache *c, uint64_t line)
{
    uint64_t *set = c->lines + line % c->sets * c->ways;
    uint64_t carried = line + 1;

    for (uint32_t i = 0; i < c->ways; i++) {
        const uint64_t here = set[i];

        set[i] = carried;
        if (here == line + 1) {
            return true;
        }
        carried = here;
    }
    return false;
}

bool caches_have_code(uint64_t address)
{
    const region *found = region_at(address);

    return found != NULL && found->flash;
}

void caches_fetch(uint64_t address, uint32_t bytes, fills *counts)
{
    const uint64_t end = (address + bytes - 1) / instructions.line_bytes;

    for (uint64_t line = address / instructions.line_bytes; line <= end; line++) {
        if (fetched != line + 1 && !use(&instructions, line)) {
            if (fetched == line) {
                counts->in_sequence++;
            } else {
                counts->at_jumps++;
            }
        }
        fetched = line + 1;
    }
}

void caches_access(uint64_t address, uint32_t bytes, fills *counts)
{
    const region *found = region_at(address);

    if (found == NULL || !found->flash) {
        return;
    }
    for (uint64_t line = address / data.line_bytes; line <= (address + bytes - 1) / data.line_bytes; line++) {
        counts->data += !use(&data, line);
    }
}

bool caches_outside(uint64_t *address)
{
    *address = outside;
    return is_outside;
}

static bool read_cache(const char *line, const char *name, cache *made)
{
    char found[16];
    cache read = {0};

    if (sscanf(line, "%15s %" SCNu32 " %" SCNu32 " %" SCNu32, found, &read.line_bytes, &read.sets, &read.ways) != 4 ||
        strcmp(found, name) != 0 || read.line_bytes == 0 || read.sets == 0 || read.ways == 0) {
        return false;
    }
    read.lines = allocate((size_t)read.sets * read.ways, sizeof(*read.lines));
    *made = read;
    return true;
}

static bool read_region(const char *line)
{
    char kind[16];
    region made;

    if (region_count == REGIONS || sscanf(line, "%15s %" SCNx64 " %" SCNx64, kind, &made.base, &made.bytes) != 3) {
        return false;
    }
    made.flash = strcmp(kind, "flash") == 0;
    regions[region_count++] = made;
    return made.flash || strcmp(kind, "free") == 0;
}

bool caches_read(const char *path)
{
    FILE *file = fopen(path, "r");
    char line[128];
    bool good = file != NULL;

    while (good && fgets(line, sizeof(line), file) != NULL) {
        good = read_cache(line, "instructions", &instructions) || read_cache(line, "data", &data) || read_region(line);
    }
    if (file != NULL) {
        fclose(file);
    }
    if (!good || instructions.lines == NULL || data.lines == NULL) {
        fprintf(stderr, "mcutrain-profile: %s does not describe a memory\n", path);
        return false;
    }
    return true;
}
